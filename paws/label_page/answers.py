"""Requests and answers: bodies that are read with a bound, JSON, files of the package and of the run."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from paws.data.texts import from_json

LARGEST = 32_000_000  # bytes of a picture that is tried, or of labels that are imported
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def answer(content: Any, status: int = 200) -> Response:
    """JSON in ASCII: file names may hold bytes that are no UTF-8."""
    return Response(json.dumps(content, separators=(",", ":")), status, media_type="application/json")


async def body_of(request: Request) -> bytes:
    """The bytes of a request. Raises HTTPException where they are more than `LARGEST`."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST:
            raise HTTPException(413, f"more than {LARGEST // 1_000_000} MB")
        parts.append(part)
    return b"".join(parts)


async def json_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request. Raises HTTPException where it is none."""
    try:
        body = from_json(await body_of(request))
    except ValueError:
        raise HTTPException(400, "the request is no JSON") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "the request is no JSON object")
    return body


def id_of(body: dict[str, Any]) -> str:
    """The id of an action. Raises HTTPException where there is none."""
    found = body.get("id")
    if not isinstance(found, str) or not 8 <= len(found) <= 64:
        raise HTTPException(400, "an action needs an id of 8 to 64 letters")
    return found


def asset(package: str, name: str, request: Request) -> Response:
    """A file of a package."""
    return Response(files(package).joinpath(name).read_bytes(), media_type=TYPES[Path(name).suffix])


def file_answer(path: Path, kind: str, headers: dict[str, str]) -> Response:
    """A file of the run. Raises HTTPException where it is not there."""
    if not path.is_file():
        raise HTTPException(404, f"there is no {path.name} yet")
    return FileResponse(path, media_type=kind, headers=headers)


def refused(request: Request, error: Exception) -> Response:
    """An InputError as an answer."""
    return answer({"error": str(error)}, 422)


def missing(request: Request, error: Exception) -> Response:
    """An HTTPException as an answer."""
    assert isinstance(error, HTTPException)
    return answer({"error": error.detail}, error.status_code)

"""The page's application: routes over a `Bench`."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache, partial
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from paws.data.texts import from_json
from paws.errors import InputError
from paws.label_page import formats
from paws.label_page.answers import answer, asset, body_of, file_answer, id_of, json_of, missing, refused
from paws.label_page.bench import LABELS, SHOWN, Bench
from paws.label_page.finish import WHAT
from paws.label_page.pictures import LARGE, SMALL, jpeg

PATIENCE = 20.0  # seconds that a page waits for something new
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)

Handle = Callable[[dict[str, Any]], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


class Page:
    """The application around a ``bench``. ``version`` counts what may be shown anew; a page waits for the next."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.version, self.closing = bench, 0, False
        self._news: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        bench.changed = self.changed

    def changed(self) -> None:
        """There is something new; called from any thread."""
        with self._lock:
            self.version += 1
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._tell)
            except RuntimeError:  # the loop has just ended
                return

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()
        self._news = asyncio.Event()

    def close(self) -> None:
        """Let no page wait any longer: the server ends."""
        self.closing = True
        self.changed()

    def app(self) -> Starlette:
        """The routes. Nothing in them is a path: pictures are numbers, assets and results have fixed names."""
        names = sorted(entry.name for entry in files("paws.label_page").joinpath("page").iterdir())
        assets = [Route(f"/{name}", partial(asset, "paws.label_page", f"page/{name}")) for name in names]
        assets.append(Route("/", partial(asset, "paws.label_page", "page/index.html")))
        assets.append(Route("/report.css", partial(asset, "paws.report", "style.css")))
        return Starlette(
            routes=[
                *assets,
                Route("/state", self.state),
                Route("/mark", self._action(self._mark), methods=["POST"]),
                Route("/class", self._action(self._class), methods=["POST"]),
                Route("/rename", self._action(self._rename), methods=["POST"]),
                Route("/undo", self._action(self._undo), methods=["POST"]),
                Route("/finish", self._work(self._finish), methods=["POST"]),
                Route("/export", self._work(self._export), methods=["POST"]),
                Route("/import", self._import, methods=["POST"]),
                Route("/try", self._try, methods=["POST"]),
                Route("/picture/{row:int}", self.picture),
                Route("/look/{row:int}", self.look),
                Route("/sheet", self.sheet),
                Route("/again", self.again),
                Route("/labels.csv", self.labels),
                Route("/report", self.report),
            ],
            exception_handlers={InputError: refused, HTTPException: missing},
        )

    async def state(self, request: Request) -> Response:
        """What is shown; with ``?after=VERSION`` once it is newer; ``&at=N,M``: with what is known of pictures now."""
        self._loop = asyncio.get_running_loop()
        after = request.query_params.get("after")
        if after == str(self.version) and not self.closing:
            self._news = self._news or asyncio.Event()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), PATIENCE)
        asked = [int(at) for at in request.query_params.get("at", "").split(",")[:SHOWN] if at.isdecimal()]
        return self._answer(at=[self.bench.item(row) for row in asked if row < len(self.bench.session.files)])

    def _answer(self, **more: Any) -> Response:
        version = self.version
        return answer({"version": version, **self.bench.state(), **more})

    def _action(self, handle: Handle) -> Endpoint:
        """What goes into the journal. It is answered by this thread, and learned from only after the answer: the next picture
        waits for nothing but the disk."""

        async def endpoint(request: Request) -> Response:
            response = handle(await json_of(request))
            response.background = BackgroundTask(self._spread)
            return response

        return endpoint

    async def _spread(self) -> None:
        self.bench.spread()

    def _work(self, handle: Handle) -> Endpoint:
        """What takes longer than a disk."""

        async def endpoint(request: Request) -> Response:
            return await run_in_threadpool(handle, await json_of(request))

        return endpoint

    def _mark(self, body: dict[str, Any]) -> Response:
        try:
            marks = [(int(row), kind, name) for row, kind, name in body["marks"]]
            how, id = str(body["how"]), id_of(body)
        except (KeyError, TypeError, ValueError):
            raise HTTPException(400, "marks must be [picture, kind, class] with how and id") from None
        return self._answer(marked=self.bench.mark(marks, how, id, _revision(body)))

    def _class(self, body: dict[str, Any]) -> Response:
        self.bench.add_class(str(body.get("name", "")), id_of(body))
        return self._answer()

    def _rename(self, body: dict[str, Any]) -> Response:
        self.bench.rename_class(str(body.get("name", "")), str(body.get("to", "")), id_of(body))
        return self._answer()

    def _undo(self, body: dict[str, Any]) -> Response:
        return self._answer(undone=self.bench.undo(id_of(body), _revision(body)))

    def _finish(self, body: dict[str, Any]) -> Response:
        if body.get("what") not in WHAT:
            raise HTTPException(400, f"what must be one of {', '.join(WHAT)}")
        if self.bench.job is not None and self.bench.job["state"] == "running":
            raise HTTPException(409, "wait until what is being made is there")
        self.bench.finish(body["what"])
        return self._answer()

    def _export(self, body: dict[str, Any]) -> Response:
        return self._answer(text=f"{self.bench.export_label_studio()}, and the labelling interface beside it")

    async def _import(self, request: Request) -> Response:
        data = await body_of(request)
        try:
            tasks = from_json(data)
        except ValueError:
            raise InputError("this file is no JSON; export JSON from Label Studio") from None
        found, problems = formats.from_label_studio(tasks, self.bench.session.files)
        count = await run_in_threadpool(self.bench.take, found, secrets.token_hex(8))
        self.bench.spread()
        return await run_in_threadpool(self._answer, text=f"{count} labels taken over, {len(problems)} tasks passed over")

    async def _try(self, request: Request) -> Response:
        return answer(await run_in_threadpool(self.bench.try_picture, await body_of(request)))

    def picture(self, request: Request) -> Response:
        """A picture as JPEG, upright; ``?size=large`` for one that fills the screen."""
        row = self._row(request)
        size = LARGE if request.query_params.get("size") == "large" else SMALL
        path = self.bench.place.images / self.bench.session.files[row]
        try:
            data = _jpeg(str(path), size, path.stat().st_mtime_ns)
        except (OSError, InputError) as error:
            why = "it is not there any more" if isinstance(error, OSError) else str(error)
            self.bench.gone(row, why)
            raise HTTPException(404, f"{self.bench.session.files[row]}: {why}") from None
        return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})

    def look(self, request: Request) -> Response:
        """One picture with its vote and what is near it."""
        return answer(self.bench.look(self._row(request)))

    def sheet(self, request: Request) -> Response:
        """Guesses to read in order; ``?class=NAME``: those of one class."""
        return answer(self.bench.sheet(request.query_params.get("class")))

    def again(self, request: Request) -> Response:
        """Lists for a second look."""
        return answer(self.bench.again())

    def labels(self, request: Request) -> Response:
        """labels.csv to download."""
        self.bench.labels.write()
        return file_answer(
            self.bench.place.run / LABELS, "text/csv", {"content-disposition": 'attachment; filename="labels.csv"'}
        )

    def report(self, request: Request) -> Response:
        """The report of the fit, walled off from this page."""
        return file_answer(self.bench.place.run / "report.html", "text/html", {"content-security-policy": REPORT_POLICY})

    def _row(self, request: Request) -> int:
        row = int(request.path_params["row"])
        if row >= len(self.bench.session.files):
            raise HTTPException(404, f"there is no picture {row}")
        return row


def _revision(body: dict[str, Any]) -> int | None:
    """What the page that asked shows; None where it does not matter."""
    revision = body.get("revision")
    return revision if isinstance(revision, int) else None


@lru_cache(maxsize=600)
def _jpeg(path: str, size: int, modified: int) -> bytes:
    return jpeg(path, size)

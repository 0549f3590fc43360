"""Who may talk to the page: only the browser that was given its token, only under its own address."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, PlainTextResponse

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

POLICY = (
    "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
REFUSED = "This page is for the browser that paws label opened. Open the link that it printed in the terminal."


class Guard:
    """Wraps an application (ASGI): what is not from its own page does not reach it.

    * ``Host`` must be 127.0.0.1 or localhost with the port: no other name may be made to point here (DNS rebinding).
    * ``Origin``, where there is one, must be the same; whatever changes something must have one (cross-site requests).
    * The cookie must hold the token. It is set, HttpOnly and SameSite=Strict, for who opens ``/?token=…``. Who follows a
      link from elsewhere, with which it is not sent, is made to ask once more, as the page itself.
    """

    def __init__(self, app: Any, token: str, port: int) -> None:
        self.app, self.token, self.cookie = app, token, f"paws_label_{port}"
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        opens = scope["path"] == "/" and scope["method"] == "GET"
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0] if opens else ""
        fresh = hmac.compare_digest(given.encode(), self.token.encode())
        why = self._refusal(headers, scope["method"], fresh)
        if why is REFUSED and opens and headers.get("sec-fetch-site") == "cross-site" and b"once" not in scope["query_string"]:
            await HTMLResponse(self._once_more(scope), 403, HEADERS)(scope, receive, send)
            return
        if why:
            await PlainTextResponse(why, 403, HEADERS)(scope, receive, send)
            return
        await self.app(scope, receive, self._with_headers(send, fresh))

    def _refusal(self, headers: dict[str, str], method: str, fresh: bool) -> str:
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self.hosts:
            return "This address is not the page's own."
        if (origin is not None or method not in ("GET", "HEAD")) and origin != f"http://{host}":
            return "This request comes from another page."
        if not fresh and not self._knows(headers.get("cookie", "")):
            return REFUSED
        return ""

    @staticmethod
    def _once_more(scope: Scope) -> str:
        """A link in a report is of another site, to which browsers send no cookie: the same view, asked for by this one."""
        view = parse_qs(scope["query_string"].decode("latin-1")).get("view", [""])[0]
        return (
            f'<!doctype html><meta http-equiv="refresh" content="0;url=/?once&view={view if view.isalpha() else ""}">{REFUSED}'
        )

    def _knows(self, cookies: str) -> bool:
        try:
            found = SimpleCookie(cookies).get(self.cookie)
        except CookieError:
            return False
        return found is not None and hmac.compare_digest(found.value.encode(), self.token.encode())

    def _with_headers(self, send: Send, fresh: bool) -> Send:
        async def wrapped(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                more = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in present]
                if fresh:
                    cookie = f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/"
                    more.append((b"set-cookie", cookie.encode()))
                message["headers"] = [*message["headers"], *more]
            await send(message)

        return wrapped

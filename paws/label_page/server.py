"""The server of the page, on 127.0.0.1 alone."""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Callable
from types import FrameType

from paws.errors import InputError
from paws.label_page.application import Page
from paws.label_page.bench import Bench
from paws.label_page.guard import Guard
from paws.report.label_work import ADDRESS
from paws.runs.files import write_text

SWITCH = 0.001  # seconds that a thread which computes may keep the one that answers waiting


def serve(bench: Bench, port: int, opened: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C or SIGTERM; ``opened`` is called with its address once it answers.

    The address, without what lets somebody in, is in the folder of the run meanwhile, for the report.

    Raises:
        InputError: the port is taken.
    """
    import uvicorn

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:  # named: else answers wait for acks
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(f"--port {port}: {error.strerror}; give another, or none") from None
        port, token = sock.getsockname()[1], secrets.token_urlsafe(32)
        page = Page(bench)
        config = uvicorn.Config(
            Guard(page.app(), token, port), log_level="warning", access_log=False, timeout_graceful_shutdown=1, ws="none"
        )

        class Server(uvicorn.Server):
            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                page.close()
                super().handle_exit(sig, frame)

        server = Server(config)
        sock.listen(64)
        bench.start()
        sys.setswitchinterval(SWITCH)
        try:
            write_text(bench.folder / ADDRESS, f"http://127.0.0.1:{port}/\n")
            opened(f"http://127.0.0.1:{port}/?token={token}")
            server.run(sockets=[sock])
        finally:
            (bench.folder / ADDRESS).unlink(missing_ok=True)
            bench.stop()

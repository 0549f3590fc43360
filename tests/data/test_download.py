"""Downloads against a real server on this machine."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from paws.data.download import download
from paws.errors import InputError

CONTENT = b"1\n2\n3\n" * 1000


class Handler(BaseHTTPRequestHandler):
    content = CONTENT
    requests = 0

    def do_GET(self):
        type(self).requests += 1
        if self.path == "/gone.txt":
            self.send_error(404)
            return
        if self.path.startswith("/elsewhere"):
            self.send_response(302)
            self.send_header("Location", "http://192.0.2.1/split.txt")  # of no machine (RFC 5737)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Handler.content, Handler.requests = CONTENT, 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_downloaded_once_and_recorded(server, tmp_path):
    for _ in range(2):
        path = download(f"{server}/split.txt", tmp_path / "cache")
        assert path.read_bytes() == CONTENT
    assert Handler.requests == 1
    assert hashlib.sha256(CONTENT).hexdigest() in (tmp_path / "cache/split.txt.sha256").read_text()
    assert sorted(p.name for p in path.parent.iterdir()) == ["split.txt", "split.txt.sha256"]


def test_a_changed_file_is_refused(server, tmp_path):
    path = download(f"{server}/split.txt", tmp_path)
    path.write_bytes(b"tampered")
    with pytest.raises(InputError, match=r"split\.txt: SHA-256"):
        download(f"{server}/split.txt", tmp_path)
    path.unlink()
    Handler.content = CONTENT[::-1]
    with pytest.raises(InputError, match="first download"):
        download(f"{server}/split.txt", tmp_path)
    assert not path.exists()


def test_a_broken_download_leaves_nothing(server, tmp_path):
    Handler.content = CONTENT[:100]
    with pytest.raises(InputError, match="100 of 6000 bytes"):
        download(f"{server}/split.txt", tmp_path)
    with pytest.raises(InputError, match=r"gone\.txt: the server answered 404"):
        download(f"{server}/gone.txt", tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_network_the_message_says_where_to_put_the_file(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        port = server.server_port
    with pytest.raises(InputError, match=rf"no connection.*put it at {tmp_path}/split\.txt"):
        download(f"http://127.0.0.1:{port}/split.txt", tmp_path, timeout=5)


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/a", "http://localhost.example/a", "file:///etc/hostname", "ftp://x/a", "https:///a"]
)
def test_nothing_but_https_is_downloaded(url, tmp_path):
    with pytest.raises(InputError, match="only over https"):
        download(url, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nobody_is_followed_away_from_https(server, tmp_path):
    with pytest.raises(InputError, match=r"http://192\.0\.2\.1/split\.txt: files are downloaded only over https"):
        download(f"{server}/elsewhere.txt", tmp_path)
    assert not list(tmp_path.iterdir())

#!/usr/bin/env bash
# Python's asyncio (3.11 to 3.13) and uvicorn 0.54.0: asyncio turns Nagle's algorithm off (TCP_NODELAY) only for sockets that
# were made with proto=socket.IPPROTO_TCP; socket.socket(AF_INET, SOCK_STREAM) has proto 0, and so have the connections that it
# accepts. A server that is given such a socket, as uvicorn's own Config.bind_socket() makes them, sends head and body of an
# answer in two pieces, of which the second waits until the client acknowledges the first: 40 ms on the loopback.
#
# Seen: median of 40 answers on a kept connection 44 ms with Config.bind_socket(), and with a socket that names its protocol
# less than a millisecond.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet uvicorn==0.54.0 h11==0.16.0
cd "$folder"
venv/bin/python - <<'PY'
import http.client
import socket
import statistics
import threading
import time

import uvicorn


async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


def milliseconds(make):
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", http="h11", lifespan="off")
    listening = make(config)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    connection, taken = http.client.HTTPConnection("127.0.0.1", listening.getsockname()[1]), []
    for _ in range(40):
        began = time.perf_counter()
        connection.request("GET", "/")
        connection.getresponse().read()
        taken.append(1000 * (time.perf_counter() - began))
    server.should_exit = True
    connection.close()
    thread.join()
    return statistics.median(taken)


def named(config):
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    return listening


own, other = milliseconds(lambda config: config.bind_socket()), milliseconds(named)
print(f"bind_socket: {own:.1f} ms, with IPPROTO_TCP: {other:.1f} ms")
assert own > 30 and other < 20, "it is not so any more"
PY

"""An HTTP server in this process that serves a few made-up files of Set5, or answers as told."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from idn_data.images.sets import Registered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = Callable[[BaseHTTPRequestHandler], None]


def register(name: str, data: bytes) -> Registered:
    return Registered("Set5", name, len(data), hashlib.sha256(data).hexdigest(), f"test/test_data/Set5/{name}")


BYTES = {name: bytes(range(256)) * (40 + k) for k, name in enumerate(["a.bmp", "b.bmp", "c.jpg", "d.png", "e.bmp"])}
FILES = [register(name, data) for name, data in BYTES.items()]


def send(data: bytes, status: int = 200, length: int | None = -1, **headers: str) -> Answer:
    """An answer with Content-Length as given; -1 the true one, None none."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for key, value in headers.items():
            handler.send_header(key.replace("_", "-"), value)
        if length is not None:
            handler.send_header("Content-Length", str(len(data) if length < 0 else length))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


class Server(ThreadingHTTPServer):
    """Serves `files`, BYTES at their repository paths; `answers` come first, the last of a path for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.files = {f"/{file.path}": BYTES[file.name] for file in FILES}
        self.answers: dict[str, list[Answer]] = {}
        self.released = threading.Event()  # lets go of answers that hang
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        told = self.server.answers.get(self.path)
        if told:
            answer = told.pop(0) if len(told) > 1 else told[0]
        else:
            data = self.server.files.get(self.path)
            answer = send(b"no such file", 404) if data is None else send(data)
        answer(self)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serve() -> Iterator[Server]:
    """Run a server in a thread."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def tell(server: Server, file: Registered, *answers: Answer) -> None:
    """What the server answers when asked for a file, one answer after the other."""
    server.answers[f"/{file.path}"] = list(answers)

"""Bytes over HTTP from a server in this process that answers as told, and from folders and ZIPs."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.error import URLError

import pytest
from support.serving import BYTES, FILES, Server, send, serve, tell

from idn_data.images import download
from idn_data.images.download import (
    ARCHIVE,
    MOST_FAILURES,
    REPOSITORY,
    FetchError,
    Web,
    check_mirror,
    open_local,
)
from idn_data.images.sets import Registered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler


A, B = FILES[:2]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with serve() as served:
        yield served


def ask(server: Server, file: Registered = A, timeout: float = 5.0, attempts: int = 3, pause: float = 0.01) -> bytes:
    return Web(server.url, timeout, attempts, pause)(file, threading.Event())


def test_read(server: Server) -> None:
    assert ask(server) == BYTES["a.bmp"]
    assert server.asked == ["/test/test_data/Set5/a.bmp"]
    tell(server, A, send(BYTES["a.bmp"], length=None))
    assert ask(server) == BYTES["a.bmp"]


def test_read_chunks(server: Server) -> None:
    data = BYTES["a.bmp"]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        send(b"", length=None, Transfer_Encoding="chunked")(handler)
        for part in (data[:100], data[100:]):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.wfile.write(b"0\r\n\r\n")

    tell(server, A, answer)
    assert ask(server) == data


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_not_tried_again(server: Server, status: int) -> None:
    tell(server, A, send(b"no", status))
    with pytest.raises(FetchError, match=rf"^HTTP {status} (Forbidden|Not Found|Gone)$"):
        ask(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_trouble_that_may_pass_is_tried_again(server: Server, status: int) -> None:
    tell(server, A, send(b"", status), send(b"", status), send(BYTES["a.bmp"]))
    assert ask(server) == BYTES["a.bmp"]
    assert len(server.asked) == 3


def test_attempts_end(server: Server) -> None:
    tell(server, A, send(b"", 503))
    with pytest.raises(FetchError, match=r"^HTTP 503 Service Unavailable, attempt 3 of 3$"):
        ask(server)
    assert len(server.asked) == 3


def test_pauses_double_and_the_server_may_ask_for_longer_ones(server: Server) -> None:
    pauses = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            return False

    web = Web(server.url, attempts=5, pause=0.5)
    tell(server, A, send(b"", 503))
    with pytest.raises(FetchError, match="attempt 5 of 5"):
        web(A, Stop())
    assert pauses == [0.5, 1, 2, 4]
    pauses.clear()
    tell(server, A, send(b"", 503, Retry_After="7"), send(BYTES["a.bmp"]))
    assert web(A, Stop()) == BYTES["a.bmp"]
    assert pauses == [7]
    tell(server, A, send(b"", 503, Retry_After="3600"))
    with pytest.raises(FetchError, match="attempt 1 of 5"):
        web(A, Stop())
    assert pauses == [7]


def test_too_many_requests_close_the_server(server: Server) -> None:
    tell(server, A, send(b"", 429, Retry_After="900"))
    web = Web(server.url)
    with pytest.raises(FetchError, match="HTTP 429 Too Many Requests, attempt 1 of 4"):
        web(A, threading.Event())
    with pytest.raises(FetchError, match=r"not asked for: the server fails \(HTTP 429 Too Many Requests\)"):
        web(B, threading.Event())
    assert len(server.asked) == 1


def test_sizes(server: Server) -> None:
    for data in (b"", b"short", BYTES["b.bmp"]):
        tell(server, A, send(data))
        with pytest.raises(FetchError, match=f"^{len(data):,} bytes instead of {A.bytes:,}$"):
            ask(server)
    assert len(server.asked) == 3  # each once


def test_an_endless_answer_is_left_after_one_byte_too_many(server: Server) -> None:
    ended = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(b"", length=None)(handler)
        try:
            while True:
                handler.wfile.write(bytes(1 << 16))
        except OSError:
            ended.set()

    tell(server, A, answer)
    assert ask(server) == bytes(A.bytes + 1)
    assert ended.wait(60)


@pytest.mark.parametrize("length", [None, A.bytes])
def test_cut_connections(server: Server, length: int | None) -> None:
    cut = send(BYTES["a.bmp"][:5000], length=length)
    tell(server, A, cut, send(BYTES["a.bmp"]))
    assert ask(server) == BYTES["a.bmp"]
    tell(server, A, cut)
    with pytest.raises(FetchError, match=r"cut after 5,000 of 10,240 bytes, attempt 3 of 3"):
        ask(server)


@pytest.mark.parametrize("error", [ConnectionResetError, ConnectionAbortedError, BrokenPipeError])
def test_cut_connections_in_the_words_of_each_system(monkeypatch: pytest.MonkeyPatch, error: type[OSError]) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error(1, "the system's words")

    web = Web(attempts=1)
    monkeypatch.setattr(web.opener, "open", fail)
    with pytest.raises(FetchError, match=r"^the connection was cut, attempt 1 of 1$"):
        web(A, threading.Event())


def test_no_answer_at_all_and_nonsense(server: Server) -> None:
    tell(server, A, lambda handler: None)
    with pytest.raises(FetchError, match="the connection was cut, attempt 3 of 3"):
        ask(server)
    tell(server, A, lambda handler: handler.wfile.write(b"\x1b[2J nonsense\r\n"))
    with pytest.raises(FetchError, match=r"no proper HTTP answer \(BadStatusLine\), attempt 3 of 3"):
        ask(server)


def test_slow(server: Server) -> None:
    tell(server, A, lambda handler: server.released.wait(30))
    with pytest.raises(FetchError, match=r"no answer within 0.1 s, attempt 2 of 2"):
        ask(server, timeout=0.1, attempts=2)
    end = time.monotonic() + 60
    while len(server.asked) < 2 and time.monotonic() < end:  # the server may be slower to see it than we to leave
        time.sleep(0.01)
    assert len(server.asked) == 2


def test_trickling(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which each look takes ten seconds."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(b"", length=A.bytes)(handler)
        while not server.released.wait(0.02):
            handler.wfile.write(b"x")

    tell(server, A, answer)
    looks: list[float] = []

    def look() -> float:
        looks.append(10.0 * len(looks))
        return looks[-1]

    monkeypatch.setattr(download, "time", SimpleNamespace(monotonic=look))
    with pytest.raises(FetchError, match=r"no answer within 20 s"):
        ask(server, timeout=20, attempts=1)
    assert looks[-1] == 210  # after ten times as long as it may be silent


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(server: Server, status: int) -> None:
    tell(server, A, send(b"", status, Location="/elsewhere/a b"))
    server.answers["/elsewhere/a%20b"] = [send(b"", status, Location=f"{server.url}/third")]
    server.answers["/third"] = [send(BYTES["a.bmp"])]
    assert ask(server) == BYTES["a.bmp"]
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "where", ["file:///etc/hostname", "ftp://127.0.0.1/a.bmp", "data:,hello", "javascript:\x1b[2J"]
)
def test_redirects_to_other_than_http(server: Server, where: str) -> None:
    tell(server, A, send(b"", 302, Location=where))
    with pytest.raises(FetchError, match=r"redirected to '.*', which is neither http nor https") as error:
        ask(server)
    assert str(error.value).isprintable()
    assert len(server.asked) == 1


def test_redirects_in_a_loop(server: Server) -> None:
    tell(server, A, send(b"", 302, Location=f"{server.url}/{A.path}"))
    with pytest.raises(FetchError, match="redirected more than 10 times"):
        ask(server)
    assert len(server.asked) == 11


def test_refused_connection_and_giving_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    web, stop = Web(f"http://127.0.0.1:{port}", attempts=2, pause=0.01), threading.Event()
    refused = "(Connection refused|.+ refused it)"  # the system's words; the others are Windows'
    for file in FILES[:MOST_FAILURES]:
        with pytest.raises(FetchError, match=rf"^{refused}, attempt 2 of 2$"):
            web(file, stop)
    with pytest.raises(FetchError, match=rf"not asked for: the server fails \({refused}\)"):
        web(FILES[-1], stop)


def test_a_success_forgives_failures(server: Server) -> None:
    web, stop = Web(server.url, attempts=1), threading.Event()
    tell(server, A, send(b"", 500))
    for _ in range(3):
        for _ in range(MOST_FAILURES - 1):
            with pytest.raises(FetchError, match="HTTP 500"):
                web(A, stop)
        assert web(B, stop) == BYTES["b.bmp"]


def test_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(FetchError, match=r"host not found \(Name or service not known\), attempt 1 of 1"):
        Web("http://nowhere.invalid", attempts=1)(A, threading.Event())


def test_untrusted_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_message = "self-signed certificate"
    asked = []

    def fail(request: object, **_: object) -> None:
        asked.append(request)
        raise URLError(cause)

    web = Web()
    monkeypatch.setattr(web.opener, "open", fail)
    with pytest.raises(
        FetchError, match=r"certificate not trusted \(self-signed certificate\); SSL_CERT_FILE can name"
    ):
        web(A, threading.Event())
    with pytest.raises(FetchError, match="not asked for: certificate not trusted"):
        web(B, threading.Event())
    assert len(asked) == 1


def test_a_stopped_reader_ends_its_pause(server: Server) -> None:
    tell(server, A, send(b"", 503))
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    start = time.monotonic()
    with pytest.raises(FetchError, match="HTTP 503"):
        Web(server.url, pause=50)(A, stop)
    assert time.monotonic() - start < 45


@pytest.mark.parametrize("url", ["http://host", "https://host:8443/a/b/", "http://[::1]:80/x"])
def test_mirrors(url: str) -> None:
    assert check_mirror(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    ["", "host/path", "file:///data", "ftp://host/a", "http://", "http:///a", "http://user:secret@host/", "http://h:x/",
     "http://h:0/", "http://h/a?b", "http://h/a#b", "http://h/a b", "http://h/ä", "http://h/\x1b", "http://[::1/"],
)  # fmt: skip
def test_what_is_no_mirror(url: str) -> None:
    with pytest.raises(FetchError, match=r"is no mirror; give http\(s\)://host/path"):
        check_mirror(url)


def test_addresses_are_pinned() -> None:
    commit = "482c601336000f5c00b0e93f83a525f0fc917830"
    assert f"https://raw.githubusercontent.com/Zheng222/IDN-Caffe/{commit}" == REPOSITORY
    assert f"https://github.com/Zheng222/IDN-Caffe/archive/{commit}.zip" == ARCHIVE


LAYOUTS = ["{path}", "{set}/{name}", "{name}", "IDN-Caffe-482c/{path}", "test_data/{set}/{name}", "mine/{name}"]


def place(layout: str, file: Registered) -> str:
    return layout.format(path=file.path, set=file.set, name=file.name)


def take(path: Path, file: Registered = A) -> bytes:
    with open_local(path) as read:
        return read(file, threading.Event())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_read_from_folder_and_zip(layout: str, tmp_path: Path) -> None:
    folder, packed = tmp_path / "folder", tmp_path / "files.zip"
    for file in FILES:
        target = folder / place(layout, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(BYTES[file.name])
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in FILES:
            archive.writestr(place(layout, file), BYTES[file.name])
    for file in FILES:
        assert take(folder, file) == take(packed, file) == BYTES[file.name]


def test_windows_names_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = "IDN-Caffe\\test\\test_data\\Set5\\a.bmp"
        archive.writestr(info, BYTES["a.bmp"])
    assert take(tmp_path / "a.zip") == BYTES["a.bmp"]


def test_the_right_one_of_several_is_taken(tmp_path: Path) -> None:
    folder, packed = tmp_path / "folder", tmp_path / "files.zip"
    wrong = {"Set5/a.bmp": b"short", "first/a.bmp": bytes(A.bytes), "second/a.bmp": BYTES["a.bmp"]}
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in wrong.items():
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_bytes(data)
            archive.writestr(name, data)
    assert take(folder) == take(packed) == BYTES["a.bmp"]


def test_local_errors(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"nowhere is neither a folder nor a ZIP; take https://github.com/"):
        take(tmp_path / "nowhere")
    (tmp_path / "a.bmp").write_bytes(b"1234")
    with pytest.raises(FetchError, match=r"a.bmp is neither a folder nor a ZIP"):
        take(tmp_path / "a.bmp")
    with pytest.raises(FetchError, match=r"^4 bytes instead of 10,240 in "):
        take(tmp_path)
    with pytest.raises(FetchError, match=r"not in .* as test/test_data/Set5/b.bmp, Set5/b.bmp, b.bmp$"):
        take(tmp_path, B)


def pack(path: Path, name: str, data: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, data)
    return bytearray(path.read_bytes())


def test_evil_names_in_a_zip_are_never_paths(tmp_path: Path) -> None:
    path = tmp_path / "in" / "evil.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../a.bmp", "/etc/a.bmp", "../../test/test_data/Set5/b.bmp", "..\\c.jpg", "C:\\d.png"):
            archive.writestr(name, b"evil")
        link = zipfile.ZipInfo("e.bmp")
        link.external_attr = 0o120777 << 16  # a symbolic link
        archive.writestr(link, "/etc/hostname")
    before = sorted(tmp_path.rglob("*"))
    for file in FILES:
        with pytest.raises(FetchError, match=r"bytes instead of|not in "):
            take(path, file)
    assert sorted(tmp_path.rglob("*")) == before


def test_bombs(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    raw = pack(path, "a.bmp", bytes(50_000_000))
    with pytest.raises(FetchError, match=r"^50,000,000 bytes instead of 10,240 in"):
        take(path)
    directory = raw.index(b"PK\x01\x02")
    raw[directory + 24 : directory + 28] = A.bytes.to_bytes(4, "little")  # one that lies about its size
    path.write_bytes(raw)
    with pytest.raises(FetchError, match=r"its entry in .* cannot be read \(Bad CRC-32"):
        take(path)


def test_broken_zips(tmp_path: Path) -> None:
    path = tmp_path / "broken.zip"
    sound = pack(path, "a.bmp", BYTES["a.bmp"])
    broken = bytearray(sound)
    broken[60] ^= 0xFF
    path.write_bytes(broken)
    with pytest.raises(FetchError, match=r"its entry in .* cannot be read \("):
        take(path)
    encrypted = bytearray(sound)
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(encrypted)
    with pytest.raises(FetchError, match="encrypted, or not packed by deflate, in"):
        take(path)
    pack(path, "a.bmp", BYTES["a.bmp"], zipfile.ZIP_LZMA)
    with pytest.raises(FetchError, match=r"or not packed by deflate, in .*; pack the ZIP anew"):
        take(path)
    path.write_bytes(sound[:20] + sound[sound.index(b"PK\x05\x06") :])
    with pytest.raises(FetchError, match=r"broken.zip: not a sound ZIP \(.*\); take https"):
        take(path)

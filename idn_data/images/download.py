"""Bytes of the authors' images: over HTTP from their repository or a mirror, or from a folder or a ZIP.

Plain urllib. pooch, with requests and five more packages, was weighed: its downloader writes whatever a server sends,
its retries repeat a 404 and wait linearly, its cache replaces a wrong file unasked. Bounding all that takes a
downloader of one's own inside it.
"""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import string
import struct
import threading
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from http import client
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, UnknownHandler
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo, is_zipfile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from idn_data.images.sets import Registered

    # Gives the bytes of a file, at most one more than registered; ends early once the event is set.
    Read = Callable[[Registered, threading.Event], bytes]
    Take = Callable[[int], bytes]  # the beginning of a file, so many bytes at most
    Find = Callable[[str], list[tuple[int, Take]]]  # what bears a name: its size in bytes, and how to take it

COMMIT = "482c601336000f5c00b0e93f83a525f0fc917830"
REPOSITORY = f"https://raw.githubusercontent.com/Zheng222/IDN-Caffe/{COMMIT}"
ARCHIVE = f"https://github.com/Zheng222/IDN-Caffe/archive/{COMMIT}.zip"
MOST_REDIRECTS = 10
LONGEST_WAIT = 60.0  # seconds; a server that asks for a longer pause is left alone
MOST_ALIKE = 16  # entries of a ZIP that may bear one name: each of the right size is unpacked
MAX_DIRECTORY = 32 << 20  # bytes of a ZIP's list of entries; it takes ten times as much in memory
MOST_FAILURES = 4  # files in a row that every attempt failed on: the server is down


class FetchError(ValueError):
    """A file cannot be had, and another attempt would not help."""


class _PassingError(OSError):
    """An answer worth another attempt, `after` at least so many seconds."""

    def __init__(self, text: str, after: float = 0.0) -> None:
        super().__init__(text)
        self.after = after


def check_mirror(url: str) -> str:
    """The address of a mirror without the slash at its end; FetchError unless it is plain http or https."""
    with suppress(ValueError):  # urlsplit's, and a port that is none
        parts = urlsplit(url)
        plain = url.isascii() and url.isprintable() and not set(url) & set(" ?#@")
        if plain and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return url.rstrip("/")
    raise FetchError(f"{url!r} is no mirror; give http(s)://host/path, without user, query or spaces")


class Web:
    """Reads files below an address over HTTP; may be called by several threads.

    Redirects are followed within http and https alone; proxies are those of the environment. No more is read than
    the registered size, or one byte more. What may pass (no connection, a cut one, no answer, HTTP 408, 425, 429 and
    5xx) is tried again, twice as long a pause each time. A server that failed on several files in a row, or says 429
    to the last, is asked no more.

    Parameters
    ----------
    base : str
        The address below which the repository's paths lie.
    timeout : float
        Seconds without a byte; a whole file may take ten times that.
    attempts : int
        For each file, at least 1.
    pause : float
        Seconds before the second attempt.
    """

    def __init__(self, base: str = REPOSITORY, timeout: float = 20.0, attempts: int = 4, pause: float = 1.0) -> None:
        self.base, self.timeout, self.attempts, self.pause = base, timeout, attempts, pause
        self.failures, self.closed = 0, ""
        self.opener = OpenerDirector()  # of these alone: nothing in it opens file: or ftp:
        context = ssl.create_default_context()
        for handler in (ProxyHandler(), UnknownHandler(), HTTPHandler(), HTTPSHandler(context=context)):
            self.opener.add_handler(handler)

    def __call__(self, file: Registered, stop: threading.Event) -> bytes:
        url = f"{self.base}/{quote(file.path)}"
        for attempt in range(1, self.attempts + 1):
            if self.closed:
                raise FetchError(f"not asked for: {self.closed}")
            try:
                data = self._read(url, file, stop)
            except FetchError:
                self.failures = 0  # the server works
                raise
            except (OSError, client.HTTPException) as error:
                reason = self._explain(error)
                wait = max(self.pause * 2 ** (attempt - 1), getattr(error, "after", 0.0))
            else:
                self.failures = 0
                return data
            if attempt == self.attempts or self.closed or wait > LONGEST_WAIT or stop.wait(wait):
                break
        self.failures += 1
        if self.failures >= MOST_FAILURES or reason.startswith("HTTP 429"):
            self.closed = self.closed or f"the server fails ({reason})"
        raise FetchError(f"{reason}, attempt {attempt} of {self.attempts}")

    def _read(self, url: str, file: Registered, stop: threading.Event) -> bytes:
        """One attempt; FetchError is final, OSError and HTTPException may pass."""
        end = time.monotonic() + 10 * self.timeout
        for _ in range(MOST_REDIRECTS + 1):
            if urlsplit(url).scheme not in ("http", "https"):
                raise FetchError(f"redirected to {url[:80]!r}, which is neither http nor https")
            with self.opener.open(Request(url, headers={"User-Agent": "idn"}), timeout=self.timeout) as answer:
                where = answer.headers.get("Location")
                if answer.status in (301, 302, 303, 307, 308) and where:
                    url = urljoin(url, quote(where, safe=string.punctuation))
                    continue
                if answer.status != 200:
                    what = f"HTTP {answer.status} {client.responses.get(answer.status, '')}".rstrip()
                    if answer.status in (408, 425, 429) or answer.status >= 500:
                        after = answer.headers.get("Retry-After", "")
                        raise _PassingError(what, float(after) if after.isdecimal() else 0.0)
                    raise FetchError(what)
                if answer.length not in (None, file.bytes):  # Content-Length
                    raise FetchError(f"{answer.length:,} bytes instead of {file.bytes:,}")
                data, limit = bytearray(), file.bytes + (answer.length is None)
                while len(data) < limit and (part := answer.read1(min(1 << 16, limit - len(data)))):
                    data += part
                    if time.monotonic() > end or stop.is_set():
                        raise TimeoutError
                if len(data) < file.bytes:
                    raise _PassingError(f"the connection was cut after {len(data):,} of {file.bytes:,} bytes")
                return bytes(data)
        raise FetchError(f"redirected more than {MOST_REDIRECTS} times")

    def _explain(self, error: OSError | client.HTTPException) -> str:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):  # no attempt, and no other file, would fare better
            self.closed = f"certificate not trusted ({cause.verify_message}); SSL_CERT_FILE can name other roots"
            return self.closed
        if isinstance(cause, TimeoutError):
            return f"no answer within {self.timeout:g} s"
        if isinstance(cause, socket.gaierror):
            return f"host not found ({cause.strerror})"
        if isinstance(cause, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, client.IncompleteRead)):
            return "the connection was cut"
        if isinstance(cause, client.HTTPException):
            return f"no proper HTTP answer ({type(cause).__name__})"
        text = getattr(cause, "strerror", None) or str(cause)
        return text if text.isprintable() else repr(text)  # a server's or a proxy's words


@contextmanager
def open_local(path: Path) -> Iterator[Read]:
    """Read files from a folder or a ZIP, by their path in the repository, by set/name or by name alone.

    Each may also lie within one more folder, as in the repository's ZIP. A ZIP's names are only compared, and no more
    of an entry is unpacked than the registered size and one byte.

    Raises
    ------
    FetchError
        `path` is neither a folder nor a ZIP.
    """
    opened: AbstractContextManager[Find]
    if path.is_dir():
        opened = nullcontext(_index_folder(path))
    elif path.is_file() and is_zipfile(path):
        opened = _index_zip(path)
    else:
        raise FetchError(f"{path} is neither a folder nor a ZIP; take {ARCHIVE}")
    with opened as find:

        def read(file: Registered, stop: threading.Event) -> bytes:
            names = (file.path, f"{file.set}/{file.name}", file.name)
            found = [entry for name in names for entry in find(name)]
            if not found:
                raise FetchError(f"not in {path} as {', '.join(names)}")
            data = b""
            for take in [take for size, take in found if size == file.bytes][:MOST_ALIKE]:
                data = take(file.bytes + 1)
                if hashlib.sha256(data).hexdigest() == file.sha256:
                    break
            if not data:
                raise FetchError(f"{found[0][0]:,} bytes instead of {file.bytes:,} in {path}")
            return data

        yield read


def _index_folder(path: Path) -> Find:
    # os.path, not Path: it says no, and does not fail, where a neighbouring folder may not be entered
    tops = [path, *sorted(p for p in path.iterdir() if os.path.isdir(p))]  # noqa: PTH112

    def take(found: Path, most: int) -> bytes:
        with found.open("rb") as stream:
            return stream.read(most)

    def find(name: str) -> list[tuple[int, Take]]:
        paths = [top / name for top in tops if os.path.isfile(top / name)]  # noqa: PTH113
        return [(p.stat().st_size, partial(take, p)) for p in paths]

    return find


@contextmanager
def _index_zip(path: Path) -> Iterator[Find]:
    try:
        if _measure_directory(path) > MAX_DIRECTORY:
            raise BadZipFile("its directory is too large")
        archive = ZipFile(path)
    except Exception as error:  # zipfile raises nearly anything on a broken file
        raise FetchError(f"{path}: not a sound ZIP ({' '.join(str(error).split())}); take {ARCHIVE}") from None
    index: dict[str, list[ZipInfo]] = {}
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        for key in {name, name.partition("/")[2]}:
            index.setdefault(key, []).append(info)

    def take(info: ZipInfo, most: int) -> bytes:
        if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED) or info.flag_bits & 1:  # LZMA may claim gigabytes
            raise FetchError(f"encrypted, or not packed by deflate, in {path}; pack the ZIP anew")
        try:
            with archive.open(info) as stream:
                return stream.read(most)
        except Exception as error:  # zipfile raises nearly anything on a broken file
            raise FetchError(f"its entry in {path} cannot be read ({' '.join(str(error).split())})") from None

    with archive:
        yield lambda name: [(info.file_size, partial(take, info)) for info in index.get(name, ())]


def _measure_directory(path: Path) -> int:
    """The most bytes that a ZIP claims for its list of entries: `ZipFile` reads it whole before anyone may ask."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - (1 << 16) - 200))  # the longest comment, and the records before it
        end = stream.read()
    claims = [0]
    for mark, place, form in ((b"PK\5\6", 12, "<I"), (b"PK\6\6", 40, "<Q")):
        at = end.find(mark)
        while at >= 0:
            field = end[at + place : at + place + struct.calcsize(form)]
            claims += struct.unpack(form, field) if len(field) == struct.calcsize(form) else ()
            at = end.find(mark, at + 1)
    return max(claim for claim in claims if claim <= size)

"""The code of a network of the user's own: found by FILE.py:NAME or package.module:NAME, and run.

Running it is like running any program. Only what the user named is run: no weight file leads here.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from idn_train.device import is_memory_full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class NetworkError(ValueError):
    """A network of the user's own that cannot be used; the message names the line of its file where it can."""


def parse_spec(spec: str) -> tuple[str, str, bool]:
    """Place and name of a network, and whether the place is a file.

    Raises
    ------
    NetworkError
        Neither FILE.py:NAME nor package.module:NAME.
    """
    place, _, name = spec.rpartition(":")
    file = place.endswith(".py")
    if not (name.isidentifier() and (file or re.fullmatch(r"\w+(\.\w+)*", place))):
        raise NetworkError(f"network {spec[:80]!r} is not FILE.py:NAME or package.module:NAME; such as espcn.py:ESPCN")
    return place, name, file


def label_network(spec: str) -> str:
    """The name of a network in weight files: without the folder of its file."""
    place, name, file = parse_spec(spec)
    return f"{Path(place).name if file else place}:{name}"


@contextlib.contextmanager
def explain_faults(label: str, file: Path, what: str) -> Iterator[None]:
    """Turn an error of the user's code in the block into a `NetworkError` of one line, with the line of their file.

    A full memory stays what it is.
    """
    try:
        yield
    except (NetworkError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if is_memory_full(error):
            raise
        frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        number = error.lineno if isinstance(error, SyntaxError) else frames[-1] if frames else None
        line = f"line {number}: " if number else ""
        text = " ".join(str(error).split())[:200]
        raise NetworkError(f"{label}: {what}: {line}{type(error).__name__}{f': {text}' if text else ''}") from error


def find_maker(spec: str) -> tuple[Callable[..., Any], Path, str]:
    """What a spec names, the file that it lies in, and the digest of that. This runs the file.

    The digest of FILE.py is `digest_code`, that of a module the SHA-256 of its file alone.

    Raises
    ------
    NetworkError
        As `load_network`.
    """
    place, name, is_file = parse_spec(spec)
    label = label_network(spec)
    module = _run_file(Path(place), label) if is_file else _import_module(place, label)
    file = Path(str(module.__file__))
    if not hasattr(module, name):
        own = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        raise NetworkError(f"{file}: has no {name}; it has {', '.join(own[:8]) or 'nothing that can be called'}")
    if not callable(make := getattr(module, name)):
        raise NetworkError(f"{file}: {name} is of type {type(make).__name__}; name a class or a function of the scale")
    return make, file, digest_code(file) if is_file else hashlib.sha256(file.read_bytes()).hexdigest()


def digest_code(file: Path) -> str:
    """SHA-256 of a file, or of it and the files beside it that it imports, and those that these import."""
    digests: dict[str, str] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        source = path.read_bytes()
        digests[path.relative_to(file.parent).as_posix()] = hashlib.sha256(source).hexdigest()
        for node in ast.walk(ast.parse(source)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                top = path.parent / name.partition(".")[0]
                found = sorted(top.rglob("*.py")) if (top / "__init__.py").is_file() else [top.with_suffix(".py")]
                waiting += [p for p in found if p.is_file() and p.relative_to(file.parent).as_posix() not in digests]
    if len(digests) == 1:
        return digests[file.name]
    return hashlib.sha256("".join(f"{name} {digests[name]}\n" for name in sorted(digests)).encode()).hexdigest()


def _run_file(path: Path, label: str) -> ModuleType:
    """Run a file as a module; once for each content of it. It may import from its own folder, at its start."""
    try:
        path = path.resolve()
        source = path.read_bytes()
    except OSError as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror).lower()
        raise NetworkError(f"{path}: {why}; --network names the file of a network: FILE.py:NAME") from None
    name = f"idn_own_{path.stem}_{hashlib.sha256(str(path).encode() + source).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and torch.compile look their modules up there
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is written beside the user's files
    sys.path.insert(0, str(path.parent))
    try:
        with explain_faults(label, path, "its file cannot be run"):
            exec(compile(source, str(path), "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.dont_write_bytecode = bytecode
        with contextlib.suppress(ValueError):  # the file itself may have changed the path
            sys.path.remove(str(path.parent))
    return module


def _import_module(name: str, label: str) -> ModuleType:
    try:
        with explain_faults(label, Path(), "its module cannot be imported"):
            module = importlib.import_module(name)
    except NetworkError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and missing.name and f"{name}.".startswith(f"{missing.name}."):
            raise NetworkError(
                f"{label}: no module {missing.name}; install it, or name its file: FILE.py:NAME"
            ) from None
        raise
    if not getattr(module, "__file__", None):
        raise NetworkError(f"{label}: {name} has no file; name the module in it that holds the network")
    return module

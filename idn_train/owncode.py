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
import warnings
from pathlib import Path
from types import FunctionType, ModuleType
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


@contextlib.contextmanager
def open_maker(spec: str) -> Iterator[tuple[Callable[..., Any], Path, str]]:
    """What a spec names, the file that it lies in, and the digest of that. This runs the file.

    In the block, code of FILE.py can import what lies beside it. The digest of FILE.py is `digest_code`, that of a
    module the SHA-256 of its file alone.

    Raises
    ------
    NetworkError
        As `load_network`.
    """
    place, name, is_file = parse_spec(spec)
    label = label_network(spec)
    with contextlib.ExitStack() as stack:
        if is_file:
            digest = digest_spec(spec)
            module = stack.enter_context(_run_file(Path(place).resolve(), label, digest))
        else:
            module = _import_module(place, label)
            digest = hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()
        yield _find_name(module, name), Path(str(module.__file__)), digest


def _find_name(module: ModuleType, name: str) -> Callable[..., Any]:
    """What a module calls so, if it can be called."""
    if not hasattr(module, name):
        own = [n for n, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        there = ", ".join(own[:8]) or "nothing that can be called"
        raise NetworkError(f"{module.__file__}: has no {name}; it has {there}")
    make: Any = getattr(module, name)
    if not callable(make):
        kind = type(make).__name__
        raise NetworkError(f"{module.__file__}: {name} is of type {kind}; name a class or a function of the scale")
    return make  # type: ignore[no-any-return]  # callable() tells mypy no more


def digest_spec(spec: str) -> str:
    """`digest_code` of the file of FILE.py:NAME, which is not run; NetworkError where it cannot be read."""
    file = Path(parse_spec(spec)[0])
    try:
        return digest_code(file.resolve())
    except OSError as error:
        path = Path(error.filename or file)
        why = "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror).lower()
        raise NetworkError(f"{path}: {why}; --network names the file of a network: FILE.py:NAME") from None


def digest_code(file: Path) -> str:
    """SHA-256 of a file, or of it and the files beside it that it imports, and those that these import."""
    digests: dict[str, str] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if (name := path.relative_to(file.parent).as_posix()) not in digests:
            source = path.read_bytes()
            digests[name] = hashlib.sha256(source).hexdigest()
            waiting += _list_imports(source, path, file.parent)
    if len(digests) == 1:
        return digests[file.name]
    return hashlib.sha256("".join(f"{name} {digests[name]}\n" for name in sorted(digests)).encode()).hexdigest()


def _list_imports(source: bytes, path: Path, folder: Path) -> Iterator[Path]:
    """The files below a folder that a file in it imports; none of a file that is no Python, and so never imported."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how it is written, such as '\d'
            nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _find_module(folder, alias.name)
        elif isinstance(node, ast.ImportFrom):
            start = path.parents[node.level - 1] if 0 < node.level <= len(path.parents) else folder
            for alias in node.names if start.is_relative_to(folder) else []:
                yield from _find_module(start, f"{node.module}.{alias.name}" if node.module else alias.name)


def _find_module(folder: Path, dotted: str) -> list[Path]:
    """The files of a module below a folder: its own; of a package with __init__.py all, as it may import any."""
    for part in dotted.split("."):
        folder = folder / part
        if (folder / "__init__.py").is_file():
            return sorted(p for p in folder.rglob("*.py") if p.is_file())
        if (file := folder.with_name(f"{part}.py")).is_file():
            return [file]
    return []


@contextlib.contextmanager
def _run_file(path: Path, label: str, digest: str) -> Iterator[ModuleType]:
    """Run a file as a module, once for each content of its code; in the block it may import from its own folder."""
    name = f"idn_own_{path.stem}_{hashlib.sha256(f'{path} {digest}'.encode()).hexdigest()[:12]}"
    with _import_beside(path.parent, name):
        if name not in sys.modules:
            module = ModuleType(name)
            module.__file__ = str(path)
            sys.modules[name] = module  # dataclasses and torch.compile look their modules up there
            try:
                with explain_faults(label, path, "its file cannot be run"):
                    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), vars(module))
            except BaseException:
                del sys.modules[name]
                raise
        yield sys.modules[name]


@contextlib.contextmanager
def _import_beside(folder: Path, owner: str) -> Iterator[None]:
    """A block in which what lies in a folder can be imported, and goes before modules of the same name from elsewhere.

    After it these modules are called ``owner.blocks``, no longer ``blocks``: another file may have a ``blocks`` of its
    own beside it. They stay in `sys.modules` under that name, by which torch.compile, relative imports and pickle look
    them up. An ``import blocks`` in a `forward` is then an error, which the try-out meets, and never another file's.
    """
    before = dict(sys.modules)
    tops = {name.partition(".")[0] for name in before} - {*sys.stdlib_module_names, "__main__"}
    there = {t for t in tops if (folder / f"{t}.py").is_file() or (folder / t / "__init__.py").is_file()}
    for name in before:
        if (top := name.partition(".")[0]) in there and not _lies_in(before.get(top), folder):
            del sys.modules[name]
    sys.modules.update({n[len(owner) + 1 :]: m for n, m in before.items() if n.startswith(f"{owner}.")})
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is written beside the user's files
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()  # a file may be new
    try:
        yield
    finally:
        sys.dont_write_bytecode = bytecode
        with contextlib.suppress(ValueError):  # the file itself may have changed the path
            sys.path.remove(str(folder))
        now = dict(sys.modules)
        mine = {name for name, m in now.items() if name != owner and before.get(name) is not m and _lies_in(m, folder)}
        for name, module in now.items():
            if name.partition(".")[0] in mine:
                del sys.modules[name]
                _rename_module(module, f"{owner}.{name}")
        sys.modules.update(before)


def _lies_in(module: ModuleType | None, folder: Path) -> bool:
    """Whether a module, or the folder of a package, lies in a folder and not deeper."""
    file = getattr(module, "__file__", None)
    places = [*getattr(module, "__path__", ())] or [file]
    return any(isinstance(place, str) and Path(place).parent == folder for place in places)


def _rename_module(module: ModuleType, name: str) -> None:
    """Let a module that was imported go by another name, with the classes and functions that it defines."""
    for value in list(vars(module).values()):
        if isinstance(value, (type, FunctionType)) and value.__module__ == module.__name__:
            value.__module__ = name
    module.__name__ = name
    if hasattr(module, "__path__"):  # one without __init__.py would look for its folder again, by its old name
        module.__path__ = list(module.__path__)
    if module.__spec__ is not None:
        module.__spec__.name = name
        module.__package__ = module.__spec__.parent
    sys.modules[name] = module


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

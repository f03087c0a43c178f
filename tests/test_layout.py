"""The floors of the house: which module may import which, and how long a module and a function may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import idn_data

ROOT = Path(__file__).parents[1]
FLOORS = (  # from the ground up: a module imports from its own floor and from those below
    (
        "idn_data.matlab",
        "idn_data.access",
        "idn_data.atomic",
        "idn_data.cgroups",
        "idn_data.cluster",
        "idn_data.memory",
        "idn_data.namesakes",
        "idn_data.reading",
        "idn_data.terminal",
        "idn_data.workers",
    ),
    ("idn_data.images",),
    ("idn_data.patches", "idn_data.lr"),
    ("idn_data.pictures",),
    ("idn_data.scores",),
    ("idn_data.demo",),
    ("idn_train",),
    ("idn_train.report",),
    ("idn_train.session",),  # a training draws its curve by the report's hand
    ("cli",),
)
PUBLIC = ("idn_data", "idn_train")  # the packages themselves: they name what users import, and import it when asked
MODULE, FUNCTION, COMMAND = 350, 60, 45  # lines at most; functions without their docstrings


def list_modules() -> dict[str, Path]:
    """Module names of the project and their files."""
    files = [ROOT / "cli.py", *(p for package in PUBLIC for p in (ROOT / package).rglob("*.py"))]
    named = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in files}
    return {name: path for name, path in named.items() if name != "idn_train.__main__"}  # it runs cli.py


MODULES = list_modules()


def find_imports(name: str) -> set[str]:
    """Modules of the project that a module imports anywhere: within functions and for type checking as well."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{name} imports relatively, in line {node.lineno}"
            wholes = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= wholes & MODULES.keys() if wholes <= MODULES.keys() else {node.module}
    return found & MODULES.keys()


IMPORTS = {name: find_imports(name) for name in MODULES}


def find_floor(name: str) -> int:
    """The floor of the longest name that `name` begins with."""
    fits = [
        (len(room), floor) for floor, rooms in enumerate(FLOORS) for room in rooms if f"{name}.".startswith(f"{room}.")
    ]
    assert fits, f"{name} stands on no floor; give it one in FLOORS"
    return max(fits)[1]


@pytest.mark.parametrize("name", sorted(MODULES.keys() - set(PUBLIC)))
def test_imports_run_downwards(name: str) -> None:
    above = {other for other in IMPORTS[name] - set(PUBLIC) if find_floor(other) > find_floor(name)}
    assert not above, f"{name} imports from above: {', '.join(sorted(above))}"


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name.startswith("idn_data.")))
def test_data_knows_no_networks(name: str) -> None:
    source = ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8")))
    roots = set()
    for node in source:
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add((node.module or "").partition(".")[0])
    assert not roots & {"torch", "idn_train", "safetensors"}
    if name.startswith("idn_data.matlab"):
        assert all(other.startswith("idn_data.matlab") for other in IMPORTS[name])


def test_no_module_imports_itself_by_way_of_others() -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in sorted(IMPORTS[name] - set(PUBLIC)):
                visit(other, (*way, name))
            done.add(name)

    for name in sorted(MODULES.keys() - set(PUBLIC)):
        visit(name, ())


@pytest.mark.parametrize("name", sorted(MODULES))
def test_sums_and_products_of_sizes_have_64_bits(name: str) -> None:
    """numpy 1 makes 32-bit numbers of Python's on Windows, where they overflow: math.prod, or a dtype, is safe."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "np":
            assert node.func.attr != "prod", f"{name}, line {node.lineno}: math.prod"
            named = {keyword.arg for keyword in node.keywords}
            assert node.func.attr not in ("cumsum", "cumprod") or "dtype" in named, f"{name}, line {node.lineno}: dtype"


def count_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, head: bool) -> int:
    """Lines of a function without its docstring, with or without its head."""
    text = ast.get_docstring(function) is not None
    docstring = function.body[0] if text else None
    first = function.lineno if head else function.body[0].lineno
    hidden = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return (function.end_lineno or 0) - first + 1 - hidden


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_is_too_long_to_read(name: str) -> None:
    source = MODULES[name].read_text(encoding="utf-8")
    if name != "cli":  # one file by design: options and commands
        assert len(source.splitlines()) <= MODULE
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if name == "cli" and node.name.endswith("_command"):
                assert count_lines(node, head=False) <= COMMAND, node.name
            else:
                assert count_lines(node, head=True) <= FUNCTION, node.name


WITHOUT = """
import sys
for package in sys.argv[1:]:
    sys.modules[package] = None
from idn_data import *
import idn_data, pydoc
assert "imresize" in pydoc.render_doc(idn_data)
print(*sorted(idn_data._HOME.keys() - idn_data.__all__), imresize.__name__)
"""


@pytest.mark.parametrize("absent", ["torch google.protobuf", "torch google"])
def test_all_names_are_had_without_the_packages_of_extras(absent: str) -> None:
    """By ``import *`` and ``help``, which import every name that is listed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT, *absent.split()],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, ["PatchDataset", "read_caffemodel", "imresize"]), done.stderr


def test_every_public_name_is_listed_where_all_packages_are_installed() -> None:
    assert idn_data.__all__ == sorted(idn_data._HOME) == dir(idn_data)

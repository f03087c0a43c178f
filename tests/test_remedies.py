"""Every option and every command that a message names exists, for each command that can end in that message."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner
from PIL import Image

from cli import main

HOME = Path(__file__).parents[1]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
WRITERS = (
    "average", "compare", "evaluate", "export-onnx", "fetch", "import-caffe", "inspect", "make-test", "make-train",
    "report", "upscale",
)  # fmt: skip
OPENERS = ("average", "compare", "evaluate", "export-onnx", "report", "upscale")  # of weights
# Module: the commands whose messages it makes. A module is named here as soon as one of its messages names an option.
COMMANDS = {
    "idn_data/atomic.py": WRITERS,
    "idn_data/cluster/scheduler.py": ("make-lr", "make-train"),
    "idn_data/cluster/tasks.py": ("make-lr", "make-train"),
    "idn_data/images/exact.py": ("make-lr",),
    "idn_data/images/fetch.py": ("fetch",),
    "idn_data/images/sets.py": ("evaluate", "report"),
    "idn_data/lr/identify.py": ("identify",),
    "idn_data/lr/layouts.py": ("make-lr",),
    "idn_data/lr/cluster.py": ("make-lr",),
    "idn_data/lr/make.py": ("make-lr",),
    "idn_data/lr/making.py": ("make-lr",),
    "idn_data/lr/plan.py": ("make-lr",),
    "idn_data/lr/reduction.py": ("make-lr",),
    "idn_data/memory.py": ("train",),
    "idn_data/patches/cluster.py": ("make-train",),
    "idn_data/patches/grid.py": ("train",),
    "idn_data/patches/order.py": ("make-train",),
    "idn_data/patches/patchfile.py": ("inspect",),
    "idn_data/patches/shards.py": ("train",),
    "idn_data/patches/trainset.py": ("make-train",),
    "idn_data/patches/verify.py": ("inspect",),
    "idn_data/scores/maketest.py": ("make-test",),
    "idn_data/scores/pairs.py": ("score",),  # in remedies, which other commands do not add
    "idn_data/scores/parity.py": ("fetch",),
    "idn_data/scores/scoring.py": ("score",),
    "idn_data/scores/tables.py": ("make-train",),
    "idn_train/checkpoint.py": OPENERS,
    "idn_train/device.py": ("train",),
    "idn_train/data.py": ("train",),
    "idn_train/learner.py": ("train",),
    "idn_train/loss.py": ("train",),
    "idn_train/owncode.py": (*OPENERS, "train"),
    "idn_train/reach.py": ("upscale",),
    "idn_train/onnxfile.py": ("export-onnx",),
    "idn_train/report/outside.py": ("report",),
    "idn_train/runstate.py": ("train",),
    "idn_train/session.py": ("train",),
    "idn_train/trainer.py": ("train",),
    "idn_train/weightfile.py": ("compare", "evaluate", "export-onnx", "upscale"),
}
# Texts that are for other commands than their module's
OTHERS = {
    "no test set below": ("evaluate", "report"),
    "name the data root with --data-root": ("evaluate", "inspect", "make-test", "make-train", "report", "train"),
    " --data-root {}": ("fetch",),
    "dask scheduler --scheduler-file writes one": (),  # another program's
    '<article class="viewer"': (),  # a style
}
# words that follow "idn" in a sentence and are no commands
PROSE = {"is", "makes", "reads", "does", "never", "are", "so", "or", "below"}


def list_texts(path: Path) -> Iterator[str]:
    """The texts of a module but for docstrings and the options' own declarations; {} for each value in them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and isinstance(node.body[0], ast.Expr):
            skipped.add(id(node.body[0].value))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "option":
            skipped |= {id(part) for part in ast.walk(node)}
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def list_options(command: str) -> set[str]:
    return {name for parameter in main.commands[command].params for name in parameter.opts}


MODULES = [p for folder in ("idn_data", "idn_train") for p in sorted((HOME / folder).rglob("*.py"))]


def find_commands(name: str, text: str, piece: str) -> tuple[str, ...]:
    """The commands that must have the options of a piece of a text; those of ``idn make-train …`` are its own."""
    named = re.match(r"idn ([a-z-]+)", piece)
    if named and named[1] in main.commands:
        return (named[1],)
    if name == "idn_data/lr/identify.py" and text.startswith(" --"):
        return ("make-lr",)  # a part of the command that it prints
    other = [commands for said, commands in OTHERS.items() if said in text]
    if other:
        return other[0]
    assert name in COMMANDS, f"{name}: say in COMMANDS which commands can end in {text!r}"
    return COMMANDS[name]


def test_options_that_messages_name() -> None:
    checked = 0
    for path in MODULES:
        name = path.relative_to(HOME).as_posix()
        if name == "idn_data/demo.py":
            continue  # its commands are run by its own test
        for text in list_texts(path):
            for piece in re.split(r"(?=\bidn [a-z-]+)", text):
                for option in OPTION.findall(piece):
                    for command in find_commands(name, text, piece):
                        assert option in list_options(command), f"{command} has no {option}; {name}: {text!r}"
                        checked += 1
    assert checked > 60


def test_commands_that_messages_name() -> None:
    for path in [*MODULES, HOME / "cli.py"]:
        for text in list_texts(path):
            for word in re.findall(r"(?<![\w.-])idn ([a-z][a-z-]*)", text):
                assert word in main.commands or word in PROSE, f"{path.name}: no command {word!r}, in {text!r}"


def test_options_that_a_command_names_itself() -> None:
    """In `cli`: usage errors, each in the body of its command."""
    tree = ast.parse((HOME / "cli.py").read_text(encoding="utf-8"))
    checked = 0
    for node in tree.body:
        name = getattr(node, "name", "")
        if not name.endswith("_command"):
            continue
        assert isinstance(node, ast.FunctionDef)
        command = next(n for n, c in main.commands.items() if c.callback and c.callback.__name__ == name)
        for raised in (n for n in ast.walk(node) if isinstance(n, ast.Raise)):
            for part in ast.walk(raised):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    for option in OPTION.findall(part.value):
                        assert option in list_options(command), f"{command} has no {option}: {part.value!r}"
                        checked += 1
    assert checked > 10


def test_remedies_are_added_by_the_commands_that_have_them(photos: Path, tmp_path: Path) -> None:
    """The same fault, in a command that has the option and in those that have not."""
    (sr := tmp_path / "method").mkdir()
    Image.new("RGB", (96, 80)).save(sr / "stone.png")
    (other := tmp_path / "sub" / "method").mkdir(parents=True)
    Image.new("RGB", (96, 80)).save(other / "stone.png")

    def fail(*arguments: str | Path) -> str:
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exit_code == 1, result.output
        return result.stderr.strip().splitlines()[-1]

    assert fail("score", sr, "--gt", photos, "--scale", "2").endswith("rename them, or leave them out with --partial")
    assert fail("report", sr, "--gt", photos, "--scale", "2").endswith("; rename them")
    lr = fail("evaluate", "bicubic", "--set", photos, "--scale", "2", "--lr", sr)
    assert lr.endswith("; rename them")
    twins = "two folders are called 'method'; rename one"
    assert fail("score", sr, other, "--gt", photos, "--scale", "2").endswith(
        f"{twins}, or name the methods with --method"
    )
    assert fail("report", sr, other, "--gt", photos, "--scale", "2").endswith(twins)


def test_the_walk_sees_a_remedy_that_is_not_there(tmp_path: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text('"""--doc"""\nraise ValueError(f"{1}: bad; leave it out with --skip-bad, or idn no-such")\n')
    assert list(list_texts(module)) == ["{}: bad; leave it out with --skip-bad, or idn no-such"]
    assert "--skip-bad" not in list_options("evaluate") and isinstance(main.commands["evaluate"], click.Command)

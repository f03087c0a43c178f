"""Random command lines of every command of `cli`, for `fuzzing`; small files, no network, no long training."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
from click.testing import CliRunner
from PIL import Image
from support.fuzzing import Rng, pick

from cli import main

WORDS = (
    "",
    "x",
    "-",
    "--",
    "é",
    "\udc80",
    "0",
    "-1",
    "nan",
    "1e999",
    "9" * 400,
    "a b",
    "../..",
    "None",
    "Set5",
    "idn",
    "bicubic",
)
FILES = (
    "photo.png", "colour.jpg", "folder", "folder/a.bmp", "set.h5", "broken.h5", "x.mat", "refs.json",
    "w.safetensors", "run",
    "broken.safetensors", "a.caffemodel", "a.zip", "gone", "gone/deep/er", "empty", "metrics.csv", "data",
    "new.png", "new.h5",
    "new.safetensors", "new", ".", "x" * 300, "link", "loop", "readonly/new.png", "photo.png/below", "new.onnx", "mat",
)  # fmt: skip
NUMBERS = (
    "-1",
    "0",
    "1",
    "2",
    "3",
    "4",
    "8",
    "64",
    "1000",
    "65536",
    "1000000000000",
    "9" * 30,
    "0.5",
    "1e-9",
    "nan",
    "inf",
    "x",
    "",
)
SOUND: dict[str, Sequence[str]] = {  # what a parameter may well be
    "file": ("set.h5", "a.caffemodel"), "image": ("photo.png",), "photos": ("photo.png", "colour.jpg", "folder/a.bmp"),
    "sets": ("Set5", "folder"), "weights": ("w.safetensors", "idn"), "methods": ("bicubic", "idn", "w.safetensors"),
    "runs": ("run", "w.safetensors"), "images": ("folder/..", "data/train_data/291", "photo.png"), "files": ("set.h5",),
    "references": ("refs.json", "folder"), "init": ("w.safetensors",), "data_root": ("data",),
    "validate_set": ("Set5", "x"),
    "json_file": ("-", "new.json"), "csv_file": ("-", "new.csv"), "local": ("folder",), "box": ("0", "3", "20", "30"),
    "out": ("new.png", "new.h5", "new.safetensors", "new", "new.onnx", "folder"), "sheet": ("new.png",),
}  # fmt: skip
LEFT_OUT = {"dask", "compiled", "tensorboard", "help", "version"}  # processes of their own, compilers, slow imports


class RefusedError(ValueError):
    """The command said no, in its own way."""


class Commands:
    """`main` with random options and arguments: exit code 0, 1 or 2, and no traceback or internal error."""

    allowed: tuple[type, ...] = (RefusedError,)

    def __init__(self, folder: Path) -> None:
        import torch

        from idn_data.matlab.compiled import load_kernels
        from idn_train.weightfile import find_weights

        torch.set_num_threads(1)
        load_kernels()
        load_kernels("idn_data.matlab.kernels8")
        self.template, self.scratch = folder / "template", folder / "scratch"
        rng = np.random.default_rng(0)
        for place in ("folder", "run", "readonly", "mat", "data/train_data/291", "data/test_data/Set5"):
            (self.template / place).mkdir(parents=True)
        colour = Image.fromarray(rng.integers(0, 256, (40, 44, 3), np.uint8))
        for name in (
            "photo.png",
            "colour.jpg",
            "folder/a.bmp",
            "folder/a_down_x2.png",
            "data/train_data/291/t.bmp",
            "data/test_data/Set5/b.png",
        ):
            colour.save(self.template / name)
        (self.template / "folder" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        (self.template / "empty").write_bytes(b"")
        (self.template / "refs.json").write_text(
            '{"cases": [{"name": "a", "input": [[1]], "output": [[1]], "scale": 1}]}'
        )
        (self.template / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + rng.bytes(500))
        (self.template / "broken.safetensors").write_bytes(bytes(50))
        (self.template / "a.caffemodel").write_bytes(rng.bytes(50))
        (self.template / "a.zip").write_bytes(b"PK\5\6" + bytes(18))
        shutil.copy(find_weights("idn", 2), self.template / "w.safetensors")
        shutil.copy(find_weights("idn", 2), self.template / "run" / "best.safetensors")
        (self.template / "run" / "metrics.csv").write_text("step,epoch,loss,rate,psnr,seconds\n1,0,0.5,1e-3,30,5\n")
        with h5py.File(self.template / "set.h5", "w") as file:
            file["lr"] = np.zeros((64, 1, 6, 6), np.float32)
            file["gt"] = np.zeros((64, 1, 12, 12), np.float32)
        (self.template / "link").symlink_to("photo.png")
        (self.template / "loop").symlink_to("loop")
        self.arguments: list[str] = []
        self.home = Path.cwd()
        train = [
            "train",
            "--data",
            str(self.template / "set.h5"),
            "--steps",
            "1",
            "--out",
            str(folder / "warm"),
            "--data-root",
            "gone",
        ]
        CliRunner().invoke(
            main, [*train, "--device", "cpu", "--no-compile"]
        )  # the first time, torch imports for seconds

    def write(self, rng: Rng) -> None:
        """A fresh folder, and a command line."""
        os.chdir(self.home)
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.copytree(self.template, self.scratch, symlinks=True)
        os.environ["IDN_DATA"] = pick(rng, ("data", "data", "gone"))
        name = pick(rng, sorted(main.commands)) if rng.random() < 0.98 else pick(rng, WORDS)
        self.arguments = (
            [name, *self._draw(main.commands[name], rng)] if name in main.commands else [name, pick(rng, WORDS)]
        )
        if name == "train":
            self.arguments += [
                "--steps",
                pick(rng, ("1", "2")),
                "--no-compile",
                "--device",
                pick(rng, ("cpu", "cpu", "cuda:7", "x")),
            ]
        elif name == "demo":
            self.arguments += ["--minutes", "-1"]
        elif name == "fetch":
            self.arguments += pick(rng, (["--dry-run"], ["--from", pick(rng, ("a.zip", "folder", "gone"))]))
        (self.scratch.parent / "arguments.txt").write_text(repr(self.arguments))

    def _draw(self, command: click.Command, rng: Rng) -> list[str]:
        drawn, trailing, careful = [], [], rng.random() < 0.6
        for parameter in command.params:
            if parameter.name in LEFT_OUT or (parameter.name == "mirror" and rng.random() < 0.97):
                continue
            wanted = 0.97 if parameter.required else 0.25
            if rng.random() > wanted:
                continue
            for _ in range(int(pick(rng, (1, 1, 2, 3))) if parameter.multiple or parameter.nargs < 0 else 1):
                values = [self._value(parameter, rng, careful) for _ in range(max(1, parameter.nargs))]
                if isinstance(parameter, click.Argument):
                    trailing += values
                elif getattr(parameter, "is_flag", False):
                    drawn.append(parameter.opts[0])
                else:
                    drawn += [pick(rng, parameter.opts), *values]
        if rng.random() < 0.03:
            drawn.append(pick(rng, ("--no-such", "-z", "--force=1", "--scale", "--json")))
        return drawn + trailing

    @staticmethod
    def _value(parameter: click.Parameter, rng: Rng, careful: bool) -> str:
        kind: Any = parameter.type
        choices: Sequence[str] = WORDS
        if isinstance(kind, click.Choice):
            choices = [str(c) for c in kind.choices]
        elif isinstance(kind, (click.types.IntParamType, click.types.FloatParamType)):
            choices = SOUND["box"] if careful and parameter.name == "box" else NUMBERS[2:6] if careful else NUMBERS
        elif careful and parameter.name in SOUND:
            choices = SOUND[parameter.name]
        elif isinstance(kind, click.Path) or parameter.name in (
            "json_file",
            "csv_file",
            "markdown_file",
            "weights",
            "methods",
            "sets",
        ):
            choices = FILES + (("idn", "bicubic", "-") if not isinstance(kind, click.Path) else ())
        elif parameter.name == "mirror":
            choices = ("ftp://a/b", "http://", "x", "http://[", "file:///etc")
        return pick(rng, choices if careful or rng.random() < 0.93 else WORDS)

    def read(self) -> None:
        """The command line."""
        os.chdir(self.scratch)
        try:
            result = CliRunner().invoke(main, self.arguments, prog_name="idn")
        finally:
            os.chdir(self.home)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        last = " ".join((result.output.strip().splitlines() or [""])[-1:])
        assert result.exit_code in (0, 1, 2), f"exit code {result.exit_code}: {last}"
        assert "Traceback" not in result.output and "internal error" not in result.output, result.output[-400:]
        assert result.exit_code == 0 or last, "nothing was said"
        if result.exit_code:
            raise RefusedError(last[:1000])

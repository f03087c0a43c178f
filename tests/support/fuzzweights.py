"""Mutated weights, states and .caffemodel, for `fuzzing`."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from support.fuzzing import NUMBERS, Rng, mutate, pick
from support.fuzztables import make_csv

from idn_train.report.curves import draw_curve


class Weights:
    """`load_weights` and what a report reads, without a network's forward pass."""

    allowed: tuple[type, ...] = (ValueError,)

    def __init__(self, folder: Path) -> None:
        import idn_train.session  # noqa: F401 (torch, before memory is counted)
        from idn_train.weightfile import find_weights

        self.path, self.seed = folder / "a.safetensors", find_weights("idn", 2).read_bytes()

    def write(self, rng: Rng) -> None:
        """The JSON at the head changed, as text or value by value; or the numbers behind it."""
        size = int.from_bytes(self.seed[:8], "little")
        text, rest = self.seed[8 : 8 + size], self.seed[8 + size :]
        match int(rng.integers(5)):
            case 0:
                data = mutate(self.seed[: int(rng.integers(8, 20000))], rng)
            case 1:
                at = int(rng.integers(len(rest) // 4)) * 4
                value = struct.pack("<f", pick(rng, (0.0, np.nan, np.inf, -np.inf, 1e38, -1.0)))
                data = self.seed[: 8 + size] + rest[:at] + value + rest[at + 4 :]
            case 2:
                text = mutate(text, rng, text=True)
                data = pick(rng, (len(text), size, pick(rng, NUMBERS) % 2**64)).to_bytes(8, "little") + text + rest
            case _:
                head = json.loads(text)
                for _ in range(int(rng.integers(1, 4))):
                    self._change(head, rng)
                text = json.dumps(head).encode()
                data = (
                    len(text).to_bytes(8, "little")
                    + text
                    + rest[: None if rng.random() < 0.8 else int(rng.integers(len(rest)))]
                )
        self.path.write_bytes(data)

    @staticmethod
    def _change(head: dict[str, Any], rng: Rng) -> None:
        meta = head.get("__metadata__")
        text = meta.get("idn") if isinstance(meta, dict) else ""
        said = json.loads(text) if isinstance(text, str) and text[:1] == "{" else {}
        odd = (None, 0, -1, 2.0, 3, True, "x", "", [], {}, [2], 10**30, {"a": []}, "\x1b[2J\n", 1e999, "9" * 5000)
        name = pick(rng, [n for n in head if n != "__metadata__"] or ["a"])
        match int(rng.integers(7)):
            case 0 if said:
                said[pick(rng, [*said, "scale", "format", "name"])] = pick(rng, odd)
                head["__metadata__"]["idn"] = json.dumps(said)
            case 1:
                head["__metadata__"] = pick(
                    rng,
                    (
                        {
                            "idn": pick(
                                rng, ("[" * 100_000, '{"scale": 2, "format": 1}', "null", "[]", "NaN", "9" * 5000)
                            )
                        },
                        {},
                        5,
                        {"idn": 5},
                    ),
                )
            case 2:
                head[name] = {
                    **(head.get(name) or {}),
                    "dtype": pick(
                        rng, ("F64", "F16", "BF16", "I8", "U8", "BOOL", "F8_E4M3", "C64", "X", 5, "I64", "F4")
                    ),
                }
            case 3:
                head[name] = {
                    **(head.get(name) or {}),
                    "shape": pick(rng, ([], [0], [64], [1 << 40, 1 << 40], [-1], [1.5], "x", [1] * 100, [0, 1 << 62])),
                }
            case 4:
                head[name] = {
                    **(head.get(name) or {}),
                    "data_offsets": [int(pick(rng, NUMBERS)), int(pick(rng, NUMBERS))],
                }
            case 5:
                head[pick(rng, ("a", "", "w.x", "\x00", name + "x"))] = head.pop(name, None)
            case _:
                head.pop(name, None)

    def read(self) -> None:
        """The network, and what it says of itself."""
        from idn_train.methods import open_method
        from idn_train.report.runs import read_runs

        read_runs([self.path])
        open_method(str(self.path))


class State:
    """`RunState.resume`, one row more, the curve, and saving again."""

    def __init__(self, folder: Path) -> None:
        import torch
        from torch import nn
        from torch.optim.swa_utils import AveragedModel

        from idn_train import runstate
        from idn_train.config import make_config
        from idn_train.learner import Learner
        from idn_train.optimizer import make_optimizers

        self.allowed: tuple[type, ...] = (runstate.TrainingError,)
        self.folder, self.torch = folder / "run", torch

        class Data:
            digest, left_out = "abc", ()

            def __len__(self) -> int:
                return 640

        def open_run() -> Any:
            torch.manual_seed(0)
            network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3))
            network.scale = 2  # as a weight file says it
            config = make_config(2, "pretrain", "express", steps=50)
            optimizers = make_optimizers(network, config)
            averaged = AveragedModel(network)
            learner = Learner(network, optimizers, averaged, torch.ones(()))  # type: ignore[arg-type]
            run = runstate.RunState(self.folder, config, Data(), None, 0.0, learner)  # type: ignore[arg-type]
            return network, averaged, optimizers, run

        def step(network: Any, averaged: Any, optimizers: Any) -> None:
            network(torch.ones(1, 1, 8, 8)).square().sum().backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
            averaged.update_parameters(network)

        self.open_run, self.step = open_run, step
        network, averaged, optimizers, run = open_run()
        step(network, averaged, optimizers)
        run.step, run.best = 1, 30.0
        run.log(0, 1.0, 1e-3, 30.0, 5.0)
        run.step = 20
        run.log(0, 0.5, 1e-3, None, 9.0)
        run.log(0, 0.5, 1e-3, 31.0, 9.5)
        run.save(9.5)
        self.seed, self.rows = (
            (self.folder / "last.safetensors").read_bytes(),
            (self.folder / "metrics.csv").read_bytes(),
        )

    def write(self, rng: Rng) -> None:
        """The state changed, or metrics.csv, or both."""
        which, data, rows = int(rng.integers(6)), self.seed, self.rows
        if which == 5:
            rows = make_csv(rows, rng)
        if which in (0, 1):
            data = mutate(data, rng)
        if which in (2, 3, 4):
            size = int.from_bytes(data[:8], "little")
            head, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
            for _ in range(int(rng.integers(1, 4))):
                self._change(head, rng)
            text = json.dumps(head).encode()
            data = len(text).to_bytes(8, "little") + text + rest
        if which == 1 and rng.random() < 0.5:
            rows = make_csv(rows, rng)
        (self.folder / "last.safetensors").write_bytes(data)
        (self.folder / "metrics.csv").write_bytes(rows)

    @staticmethod
    def _change(head: dict[str, Any], rng: Rng) -> None:
        if rng.random() < 0.4:
            return Weights._change(head, rng)
        try:
            said = json.loads(head["__metadata__"]["idn"])
            odd = (None, 0, -1, 2.5, 10**30, True, "x", [], {}, 1e999, float("nan"), "9" * 5000, 49, 51, 1e308)
            if rng.random() < 0.3:
                said["identity"] = pick(rng, (None, [], "x", {}, said["identity"] | {"rate": float("nan")}))
            else:
                said[pick(rng, ("step", "steps", "seconds", "best", "open_end", "validated_on"))] = pick(rng, odd)
            head["__metadata__"]["idn"] = json.dumps(said)
        except (KeyError, TypeError, ValueError, RecursionError):
            pass
        names = [n for n in head if n != "__metadata__"]
        one, other = pick(rng, names or ["a"]), pick(rng, names or ["a"])
        if rng.random() < 0.3 and isinstance(head.get(one), dict) and isinstance(head.get(other), dict):
            head[one] = dict(head[other])  # of another shape; the bytes of both then overlap, or leave a hole
        if rng.random() < 0.2 and one in head:
            head[pick(rng, ("a.0.momentum", "a.0.exp_avg", "a.99.step", "a.x", "w.", "m.n_averaged", "a.0.step"))] = (
                head.pop(one)
            )

    def read(self) -> None:
        """Go on for a step."""
        network, averaged, optimizers, run = self.open_run()
        run.resume()
        run.last_psnr()
        run.choose_by("abc")
        assert isinstance(run.step, int) and 0 <= run.step <= 10**15 and isinstance(run.seconds, (int, float))
        assert run.best is None or run.best < 1 or run.best >= 1
        self.step(network, averaged, optimizers)
        run.step += 1
        run.log(0, 0.5, 1e-3, 31.0, run.seconds + 1)
        draw_curve(run.rows, "x")


class Caffemodel:
    """`read_caffemodel`."""

    allowed: tuple[type, ...] = (ValueError,)

    def __init__(self, folder: Path) -> None:
        from idn_train import caffe

        self.path, self.caffe = folder / "a.caffemodel", caffe
        net = caffe._net_parameter()()
        for name, shape in caffe.SHAPES.items():
            layer = net.layer.add(name=name.encode())
            for dims in (shape, (shape[1 if name == "upsample" else 0],)):
                blob = layer.blobs.add()
                blob.shape.dim.extend(dims)
                blob.data.extend(np.zeros(int(np.prod(dims))))
            if name == "upsample":
                layer.convolution_param.stride.append(3)
        self.net, self.seed = net, net.SerializeToString()

    def write(self, rng: Rng) -> None:
        """Messages changed, or bytes; or very many messages in few bytes."""
        match int(rng.integers(4)):
            case 0:
                data = mutate(self.seed, rng)
            case 1:
                at = int(pick(rng, [0, *range(0, len(self.seed), 300_000)]))
                data = self.seed[:at] + mutate(self.seed[at : at + 400], rng) + self.seed[at + 400 :]
            case 2 if rng.random() < 0.05:
                layer = pick(
                    rng,
                    (
                        b"\xa2\x06\x00",
                        b"\xa2\x06\x02\x3a\x00",
                        b"\xa2\x06\x07\x3a\x00\x3a\x00\x3a\x01\x00",
                        b"\xa2\x06\x03\xd2\x06\x00",
                    ),
                )
                inner = b"\x3a\x00" * int(rng.integers(3_000_000))
                size = len(inner)
                varint = b""
                while size > 127:
                    varint, size = varint + bytes([size & 127 | 128]), size >> 7
                data = pick(rng, (layer * ((8 << 20) // len(layer)), b"\xa2\x06" + varint + bytes([size]) + inner))[
                    : 8 << 20
                ]
            case 2:
                data = rng.bytes(int(rng.integers(200)))
            case _:
                net = type(self.net)()
                net.CopyFrom(self.net)
                for _ in range(int(rng.integers(1, 4))):
                    self._change(pick(rng, list(net.layer)), rng)
                data = net.SerializeToString()
        self.path.write_bytes(data)

    @staticmethod
    def _change(layer: Any, rng: Rng) -> None:
        blob = pick(rng, list(layer.blobs) or [layer.blobs.add()])
        match int(rng.integers(7)):
            case 0:
                blob.shape.dim[:] = pick(
                    rng, ([], [-1], [1] * 20, [1 << 62, 4], [0], [64, -9], [1 << 40] * 9, [2**62 + 1, 4])
                )
            case 1:
                blob.data[: int(rng.integers(1, 4))] = pick(rng, ([np.nan], [np.inf, 1.0], [1e-45], []))
            case 2:
                layer.name = pick(rng, (b"", b"conv1", b"\xff\xfe", b"upsample", b"x" * 10000))
            case 3:
                layer.convolution_param.stride[:] = pick(rng, ([], [2], [0], [2**32 - 1], [3, 4], [4] * 1000))
            case 4:
                del layer.blobs[int(rng.integers(len(layer.blobs))) :]
            case 5:
                layer.blobs.add().CopyFrom(blob)
            case _:
                blob.shape.Clear()
                blob.num, blob.channels, blob.height, blob.width = (
                    int(pick(rng, (0, -1, 1, 64, 2**31 - 1))) for _ in range(4)
                )

    def read(self) -> None:
        """Scale and layers."""
        scale, layers = self.caffe.read_caffemodel(self.path)
        assert scale in (None, 2, 3, 4) and len(layers) == len(self.caffe.SHAPES)

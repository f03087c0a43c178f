"""One step of a training, part by part and way by way: milliseconds, patches/s, and the share of the peak.

    python tests/benchmarks/bench_step.py [--scale 4] [--patch 19] [--batch 64 --batch 256] [--profile]

On a GPU each way is one CUDA graph, as the trainer has it. The ways alternate round by round. FLOPs are those of the
layers as the paper has them, forward and twice that backward; the peak is a large matrix product, measured beside.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from idn_train import network as network_module
from idn_train import optimizer as optimizer_module
from idn_train.architecture import SLOPE, UPSAMPLE, list_layers
from idn_train.config import Config, make_config
from idn_train.device import choose_device, choose_precision
from idn_train.learner import is_captured, make_learner, make_step

Step = Callable[[Tensor, Tensor], Tensor]


def count_flops(scale: int) -> float:
    """FLOPs of a training step for one LR pixel: forward, and twice that backward."""
    total = 0.0
    for layer in list_layers():
        if layer.name != UPSAMPLE.name:
            total += layer.inputs // layer.groups * layer.outputs * layer.kernel**2
    return 6 * (total + UPSAMPLE.inputs * UPSAMPLE.kernel**2)


def measure_peak(device: torch.device, precision: str) -> float:
    """FLOP/s of one large matrix product in the precision of the training."""
    side = 8192 if device.type == "cuda" else 2048
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    best = 0.0
    for _ in range(5):
        synchronize(device)
        began = time.perf_counter()
        for _ in range(4):
            a @ b
        synchronize(device)
        best = max(best, 4 * 2 * side**3 / (time.perf_counter() - began))
    return best


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def run_dense(self: nn.Conv2d, x: Tensor) -> Tensor:
    """A grouped convolution as one of a single group, also on a processor."""
    spread = network_module._spread_groups(self.weight, self.groups)
    return F.conv2d(x, spread.contiguous(memory_format=torch.channels_last), self.bias, padding=1)


def run_grouped(self: nn.Conv2d, x: Tensor) -> Tensor:
    return nn.Conv2d.forward(self, x)


class AddBias(torch.autograd.Function):
    """A bias whose gradient, a sum over all pixels, is a matrix product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        return x + bias.to(x.dtype)[:, None, None]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, gradient.shape[1])  # (N·h·w, C)
        return gradient, (rows.mT @ rows.new_ones(len(rows), 8))[:, 0].float()


def run_bias_apart(self: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution with its bias by `AddBias`."""
    weight = self.weight if self.groups == 1 else network_module._spread_groups(self.weight, self.groups)
    out = F.conv2d(x, weight.contiguous(memory_format=torch.channels_last), padding=self.padding)
    return AddBias.apply(out, self.bias)


class LeakyConvolution(torch.autograd.Function):
    """A convolution with its leaky ReLU in one call of oneDNN; the backward pass as it was."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, pad: int) -> Tensor:
        run = torch.ops.mkldnn._convolution_pointwise
        kernel, offset = weight.to(x.dtype), bias.to(x.dtype)
        y: Tensor = run(x, kernel, offset, [pad, pad], [1, 1], [1, 1], groups, "leaky_relu", [SLOPE], "")
        ctx.save_for_backward(x, kernel, y)
        ctx.groups, ctx.pad = groups, pad
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel, y = ctx.saved_tensors
        inner = torch.ops.aten.leaky_relu_backward(gradient, y, SLOPE, True)  # y has the sign of what it was
        sides = ([1, 1], [ctx.pad, ctx.pad], [1, 1], False, [0, 0], ctx.groups)
        found = torch.ops.aten.convolution_backward(
            inner, x, kernel, [kernel.shape[0]], *sides, (ctx.needs_input_grad[0], True, True)
        )
        return found[0], found[1].float(), found[2].float(), None, None


def run_leaky(self: nn.Conv2d, x: Tensor) -> Tensor:
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    y: Tensor = LeakyConvolution.apply(x, self.weight, self.bias, self.groups, self.kernel_size[0] // 2)
    return y


def run_leaky_dense(self: nn.Conv2d, x: Tensor) -> Tensor:
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    weight = self.weight if self.groups == 1 else network_module._spread_groups(self.weight, self.groups)
    weight = weight.contiguous(memory_format=torch.channels_last)
    y: Tensor = LeakyConvolution.apply(x, weight, self.bias, 1, self.kernel_size[0] // 2)
    return y


# a layer's forward and whether of all layers or of grouped ones; torch.compile; whether Muon takes layers one by one
WAYS: dict[str, tuple[Callable[..., Tensor] | None, bool, bool, bool]] = {
    "as trained": (None, False, False, False),
    "grouped": (run_grouped, False, False, False),
    "dense": (run_dense, False, False, False),
    "as trained, compiled": (None, False, True, False),
    "compiled, bias by products": (run_bias_apart, True, True, False),
    "compiled, Muon by layers": (None, False, True, True),
    "dense, compiled": (run_dense, False, True, False),
    "fused leaky ReLU": (run_leaky, True, False, False),
    "fused leaky ReLU, dense": (run_leaky_dense, True, False, False),
}


def build(way: str, config: Config, batch: tuple[Tensor, Tensor], device: torch.device) -> Step:
    forward, everywhere, compiled, one_by_one = WAYS[way]
    shipped = network_module._GroupedConv2d.forward
    captured = is_captured(device, 1, device.type == "cuda")
    learner = make_learner(config, device, captured=captured)
    if forward is not None:
        for module in learner.network.modules():
            if isinstance(module, nn.Conv2d if everywhere else network_module._GroupedConv2d):
                module.forward = forward.__get__(module)  # type: ignore[method-assign]
            if isinstance(module, nn.LeakyReLU) and forward in (run_leaky, run_leaky_dense):
                module.forward = nn.Identity().forward  # type: ignore[method-assign]
    assert network_module._GroupedConv2d.forward is shipped
    step = make_step(learner, config, compiled=compiled)
    if captured and not compiled:
        from idn_train.graph import CapturedStep

        step = CapturedStep(step)
    learner.set_rate(1e-3, config.average, 1)
    together = optimizer_module.orthogonalize_together
    try:
        if one_by_one:
            optimizer_module.orthogonalize_together = lambda stacks: [optimizer_module.orthogonalize(s) for s in stacks]
        for _ in range(6):  # on a GPU the step is captured here
            step(*batch)
    finally:
        optimizer_module.orthogonalize_together = together
    return step


def measure(step: Step, batch: tuple[Tensor, Tensor], device: torch.device, steps: int) -> float:
    """Seconds a step."""
    synchronize(device)
    began = time.perf_counter()
    for _ in range(steps):
        step(*batch)
    synchronize(device)
    return (time.perf_counter() - began) / steps


def list_parts(config: Config, batch: tuple[Tensor, Tensor], device: torch.device) -> dict[str, float]:
    """Milliseconds of forward, backward and the optimizers apart, launched one by one: on a GPU, launching counts."""
    from idn_train.loss import compute_loss

    learner = make_learner(config, device)
    network, marks = learner.network, {"forward": 0.0, "backward": 0.0, "optimizers": 0.0}
    for k in range(13):
        synchronize(device)
        t0 = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            sr = network(batch[0])
        loss = compute_loss(sr, batch[1], config.loss)
        synchronize(device)
        t1 = time.perf_counter()
        loss.backward()
        synchronize(device)
        t2 = time.perf_counter()
        for optimizer in learner.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        synchronize(device)
        t3 = time.perf_counter()
        if k >= 3:
            for name, seconds in zip(marks, (t1 - t0, t2 - t1, t3 - t2), strict=True):
                marks[name] += seconds * 100
    return marks


def show_profile(step: Step, batch: tuple[Tensor, Tensor], device: torch.device) -> None:
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with profile(activities=kinds) as seen:
        for _ in range(3):
            step(*batch)
        synchronize(device)
    order = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    print(seen.key_averages().table(sort_by=order, row_limit=28, max_name_column_width=90))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--patch", type=int, default=19)
    parser.add_argument("--batch", type=int, action="append")
    parser.add_argument("--preset", default="express")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--way", action="append", choices=tuple(WAYS))
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    precision = choose_precision(device, arguments.precision)
    peak, flops = measure_peak(device, precision), count_flops(arguments.scale) * arguments.patch**2
    print(f"{name}, torch {torch.__version__}, {precision}, {torch.get_num_threads()} threads; x{arguments.scale}, LR patches of "
          f"{arguments.patch}, {flops / 1e9:.2f} GFLOP a patch; peak {peak / 1e12:.2f} TFLOP/s")  # fmt: skip
    for size in arguments.batch or [64]:
        given = {"precision": precision, "batch": size}
        config = replace(make_config(arguments.scale, "finetune", arguments.preset, **given), steps=1000)
        lr = torch.rand(size, 1, arguments.patch, arguments.patch, device=device)
        batch = lr, F.interpolate(lr, scale_factor=arguments.scale, mode="bicubic").clamp(0, 1)
        parts = list_parts(config, batch, device)
        print(f"batch {size}: " + ", ".join(f"{name} {ms:.2f} ms" for name, ms in parts.items()), flush=True)
        steps, memories = {}, {}  # bytes that a way takes while it is built, its first steps included
        processors = [way for way in WAYS if "fused" not in way or device.type == "cpu"]
        for way in arguments.way or processors:
            held = torch.cuda.memory_allocated() if device.type == "cuda" else 0
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            steps[way] = build(way, config, batch, device)
            memories[way] = torch.cuda.max_memory_allocated() - held if device.type == "cuda" else 0
        seconds: dict[str, list[float]] = {way: [] for way in steps}
        for _ in range(arguments.rounds):
            for way, step in steps.items():
                seconds[way].append(measure(step, batch, device, arguments.steps))
        for way, found in seconds.items():
            middle = statistics.median(found)
            memory = f"  {memories[way] / 2**20:,.0f} MiB" if device.type == "cuda" else ""
            print(f"batch {size:5} {way:<22} {1e3 * middle:8.2f} ms ({1e3 * min(found):.2f} to {1e3 * max(found):.2f})  "
                  f"{size / middle:9,.0f} patches/s  {flops * size / middle / 1e12:7.2f} TFLOP/s  "
                  f"{flops * size / middle / peak:6.1%}{memory}", flush=True)  # fmt: skip
        if arguments.profile:
            show_profile(list(steps.values())[-1], batch, device)


if __name__ == "__main__":
    main()

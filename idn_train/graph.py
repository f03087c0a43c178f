"""A training step as one launch: on a GPU, hundreds of small kernels would else wait for the processor."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

EAGER = 3  # steps before the capture: they compile, allocate, choose algorithms and create the optimizers' state


class CapturedStep:
    """`step(lr, gt) -> loss` as a CUDA graph, captured at its fourth call; every call is one step of the training.

    What the step reads must stay where it is: it may depend on nothing but its two tensors, whose shapes are those of
    the first call, and on other tensors of the device that are changed in place (weights, state, rates). The loss that
    a call returns is overwritten by the next one.
    """

    def __init__(self, step: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._step = step
        self._calls = 0
        self._graph = torch.cuda.CUDAGraph()
        self._stream: torch.cuda.Stream  # from the first call on: it is of the tensors' GPU
        self._lr: Tensor
        self._gt: Tensor
        self._loss: Tensor  # all three from the capture on

    def __call__(self, lr: Tensor, gt: Tensor) -> Tensor:
        """Do one step."""
        with torch.cuda.device(lr.device):  # streams and graphs are those of the current GPU
            return self._advance(lr, gt)

    def _advance(self, lr: Tensor, gt: Tensor) -> Tensor:
        self._calls += 1
        if self._calls == 1:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's own is not annotated
        if self._calls > EAGER + 1:
            self._lr.copy_(lr)
            self._gt.copy_(gt)
            self._graph.replay()
            return self._loss
        # benchmark: the convolutions' algorithms are tried out once, and then kept in the graph
        tuned = torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=False, allow_tf32=True)
        with tuned, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "TensorFloat32")  # the bicubic image is exact only without it
            if self._calls <= EAGER:  # on a side stream, as a capture would: what it allocates is freed there
                self._stream.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(self._stream):
                    loss = self._step(lr, gt)
                torch.cuda.current_stream().wait_stream(self._stream)
                return loss
            self._lr, self._gt = lr.clone(), gt.clone()
            with torch.cuda.graph(self._graph, stream=self._stream):  # torch's own stream is of the first GPU in use
                self._loss = self._step(self._lr, self._gt)
        self._graph.replay()  # captured only until here
        return self._loss

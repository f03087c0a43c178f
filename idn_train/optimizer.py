"""How weights follow their gradients: Adam, and Muon for the convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idn_train.config import Config

MOMENTUM = 0.95
FEW = 3  # channels: Y, RGB
# of a quintic that carries singular values in (0, 1] near 1 in five rounds; K. Jordan et al., "Muon", 2024
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
FEW_ROWS = 16  # of a matrix: those of grouped convolutions have 8 or 12, all others 32 and more


def make_optimizers(network: nn.Module, config: Config, captured: bool = False) -> list[torch.optim.Optimizer]:
    """Adam with λ on weights, none on biases, fused; with a `muon_rate`, Muon for all convolutions of many channels.

    Muon takes the weights of `nn.Conv2d` with more than `FEW` inputs a group: not those that read the picture, nor
    depthwise ones, nor those that something else computes (weight norm). Frozen parameters are left out.

    With a `muon_rate`, Adam's decay is Muon's too (Loshchilov and Hutter, "Decoupled weight decay", 2019): a step takes
    rate·λ of the weights off. In the gradient it would be lost against large ones, and rule clipped ones. So it is also
    where Muon finds no convolution.

    Each group's ``full_rate`` is its rate where the schedule is at 1; `set_rates` follows the schedule. `captured`: for
    a step that becomes a CUDA graph, rates are tensors, so that they can change in it.
    """
    device = next(network.parameters()).device

    def make_rate(rate: float) -> Any:
        return torch.tensor(rate, device=device) if captured else rate

    trained = {id(p): p for p in network.parameters() if p.requires_grad}
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.weight.shape[1] > FEW]
    found = {id(m.weight): (m.weight, m.groups) for m in convolutions if id(m.weight) in trained}  # once, where shared
    muon = list(found.values()) if config.muon_rate else []
    weights = [p for p in trained.values() if p.ndim > 1 and not (muon and id(p) in found)]
    biases = [p for p in trained.values() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": config.weight_decay, "full_rate": config.rate},
        {"params": biases, "weight_decay": 0.0, "full_rate": config.rate},
    ]
    if not config.muon_rate:
        return [torch.optim.Adam(groups, lr=make_rate(config.rate), fused=True, capturable=captured)]
    adam = torch.optim.AdamW(groups, lr=make_rate(config.rate), fused=True, capturable=captured)
    return [adam, Muon(muon, make_rate(config.muon_rate), config.weight_decay)] if muon else [adam]


def set_rates(optimizers: Sequence[torch.optim.Optimizer], part: float) -> None:
    """Give all groups a part, 0…1, of their full rates."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            rate = part * group["full_rate"]
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)  # read by the graph
            else:
                group["lr"] = rate


@torch.no_grad()
def blend_weights(averaged: nn.Module, network: nn.Module, share: Tensor) -> None:
    """Move the weights of one network towards another's by a share, 0…1, of the way."""
    means: list[Tensor] = list(averaged.parameters())
    weights: list[Tensor] = list(network.parameters())
    steps = list(torch._foreach_sub(weights, means))
    torch._foreach_mul_(steps, share)
    torch._foreach_add_(means, steps)


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal: every direction of a layer learns at the same pace.

    A convolution's weight is one matrix for each group, (outputs, inputs·k·k). The step is ``rate·0.2·√max(sides)``
    times the nearest orthogonal matrix, which has Adam's usual size (J. Liu et al., "Muon is scalable for LLM
    training", 2025).

    Parameters
    ----------
    weights : list of (Tensor, int)
        Weights of convolutions, (outputs, inputs / groups, k, k), with their number of groups.
    rate : float or Tensor
    weight_decay : float
        λ: each step also shrinks the weights by rate·λ of themselves.
    """

    def __init__(self, weights: list[tuple[Tensor, int]], rate: float | Tensor, weight_decay: float = 0.0) -> None:
        alike: dict[tuple[int, ...], list[Tensor]] = {}
        for weight, groups in weights:  # matrices of one shape are orthogonalised together
            alike.setdefault((groups, *weight.shape), []).append(weight)
        groups_ = [{"params": same, "groups": shape[0]} for shape, same in alike.items()]
        super().__init__(groups_, {"lr": rate, "full_rate": float(rate), "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # there is no closure to call
        """Follow the gradients once."""
        weights: list[Tensor] = [weight for group in self.param_groups for weight in group["params"]]
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]  # None: a layer not in use
        for weight in weights:
            if "momentum" not in self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        momenta = [self.state[weight]["momentum"] for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        updates = iter(torch._foreach_lerp(gradients, momenta, MOMENTUM))  # Nesterov's
        stacks = []
        for group in self.param_groups:
            shape = (group["groups"], len(group["params"][0]) // group["groups"], -1)
            alike = [next(updates).reshape(shape) for _ in group["params"]]
            stacks.append(torch.stack(alike))  # (layers, groups, outputs, inputs·k·k)
        together = orthogonalize_together if weights[0].is_cuda else lambda each: [orthogonalize(s) for s in each]
        for group, nearest in zip(self.param_groups, together(stacks), strict=True):
            same, used = group["params"], [weight for weight in group["params"] if weight.grad is not None]
            steps = nearest * (group["lr"] * 0.2 * max(nearest.shape[-2:]) ** 0.5)
            if used:  # the others had no part in the result, and stay, as Adam's do
                torch._foreach_mul_(used, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_sub_(same, [step.reshape(same[0].shape) for step in steps])


def orthogonalize_together(stacks: Sequence[Tensor]) -> list[Tensor]:
    """`orthogonalize` of several stacks of matrices, (…, m, n) each, in two batches.

    Filled up with zeros, which stay zeros, all matrices have one shape; those of few rows go apart, as they would be
    mostly zeros. For GPUs: there each product of so small matrices costs its launch, not its multiplications.
    """
    flat = [stack.reshape(-1, *stack.shape[-2:]) for stack in stacks]
    flat = [stack.mT if stack.shape[1] > stack.shape[2] else stack for stack in flat]  # (count, m, n), m ≤ n
    results: list[Tensor] = list(stacks)
    for few in (True, False):
        chosen = [k for k, stack in enumerate(flat) if (stack.shape[1] <= FEW_ROWS) == few]
        if not chosen:
            continue
        rows, columns = (max(flat[k].shape[axis] for k in chosen) for axis in (1, 2))
        padded = [pad(flat[k], (0, columns - flat[k].shape[2], 0, rows - flat[k].shape[1])) for k in chosen]
        together = torch.split(orthogonalize(torch.cat(padded)), [len(stack) for stack in padded])
        for k, part in zip(chosen, together, strict=True):
            own = part[:, : flat[k].shape[1], : flat[k].shape[2]]
            own = own.mT if stacks[k].shape[-2] > stacks[k].shape[-1] else own
            results[k] = own.reshape(stacks[k].shape)
    return results


def orthogonalize(matrices: Tensor) -> Tensor:
    """About U·Vᵀ of each matrix U·S·Vᵀ, (…, m, n): singular values of 0.7 to 1.2, by five Newton-Schulz rounds."""
    a, b, c = NEWTON_SCHULZ
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    x = x.reshape(-1, *x.shape[-2:])
    if turned := x.shape[1] > x.shape[2]:
        x = x.mT
    for _ in range(5):
        square = x @ x.mT
        square = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, square, x, beta=a)
    nearest: Tensor = x.mT if turned else x
    return nearest.reshape(matrices.shape)

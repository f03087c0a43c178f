"""MATLAB's `imresize` for torch tensors: on any device, differentiable.

Along an axis, resampling is a product with a matrix whose rows reach a few pixels each. The matrix is cut into bands, a
few dozen rows that share their columns, and each band is multiplied with its part of the image. That is several times
as fast as to gather the pixels of every output pixel. The gradient is the same with the matrix transposed.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from idn_data.matlab.sizes import find_lengths
from idn_data.matlab.weights import check_boundary, compute_weights
from idn_train.device import supports_float64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idn_data.matlab.sizes import Scale, Size
    from idn_data.matlab.weights import Boundary, Method

CACHED = 256  # matrices kept: two for each kind of image, scale and device
ROWS, ROWS_ON_GPU = 32, 256  # of a band: fewer multiply less, more start fewer kernels
WHOLE = 48 * 48  # entries of a matrix that is quicker as one band, on any device
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
F = TypeVar("F")
INTEGERS = (torch.uint8, torch.uint16, torch.uint32, torch.int8, torch.int16, torch.int32)


class Band(NamedTuple):
    """Some rows of a matrix, (rows, columns), without the columns that are zero in all of them."""

    columns: slice
    weights: Tensor

    def cut(self, planes: Tensor, whole: int) -> Tensor:
        """What the band meets of the second axis, of `whole` pixels."""
        return planes if self.weights.shape[1] == whole else planes[:, self.columns]


@dataclass(frozen=True)
class Resampling:
    """How one axis is resampled: the bands of its matrix, (n_out, n_in), and those of the matrix transposed."""

    axis: int  # -2: rows, -1: columns
    bands: tuple[Band, ...]
    transposed: tuple[Band, ...]

    @cached_property
    def flipped(self) -> Resampling:
        """The gradient's."""
        return Resampling(self.axis, self.transposed, self.bands)


class Taps(NamedTuple):
    """How one axis is resampled in MATLAB's order of summation: tap by tap, (P, n_out)."""

    axis: int
    weights: Tensor
    indices: Tensor


def imresize(
    image: Tensor,
    scale: Scale | None = None,
    method: Method = "bicubic",
    *,
    size: Size | None = None,
    antialias: bool | None = None,
    boundary: Boundary = "symmetric",
) -> Tensor:
    """Resize images as MATLAB's ``imresize`` does; `idn_data.imresize` for tensors, whose last two axes are resized.

    Parameters
    ----------
    image : (…, H, W) Tensor, on any device
        float64 and float32: computed in their own precision, nothing is clipped. float16 and bfloat16: computed in
        float32 and rounded once. uint8, uint16, uint32, int8, int16, int32 and bool: as `idn_data.imresize`, in
        float64, rounded and saturated after each pass; on a device without float64, by the processor.
    scale : float or (float, float), optional
        Factor for both axes, or one for rows and one for columns. The output has ``ceil(scale * n)`` pixels.
    method : str or (function, width)
        A name in any case: "bicubic" or "cubic", "bilinear" or "triangle", "lanczos2", "lanczos3", "box", "nearest".
        Or a kernel of your own: a function from distances in pixels to weights (float64 numpy arrays of one shape), and
        the width in pixels outside which it is 0.
    size : (float, float), optional
        Rows and columns of the output, rounded up. One of them may be None or NaN: it follows from the other's scale.
    antialias : bool, optional
        Widen the kernel when shrinking. By default as in MATLAB: yes, but not for "nearest".
    boundary : {"symmetric", "replicate"}
        What lies beyond the edge: the mirror image with the edge pixel repeated, as in newer MATLABs, or the edge
        pixel, as in older ones (R2013b and before).

    Returns
    -------
    (…, h, w) Tensor of the image's dtype, on its device
        Autocast changes neither the type nor the precision.

    Raises
    ------
    TypeError
        For anything but a tensor, and for another dtype.
    ValueError
        For an empty image, fewer than two dimensions, a bad scale, size, method or boundary.

    Notes
    -----
    The axis with the smaller scale goes first, rows at equal scales. Sums are taken in another order than numpy's:
    of values in [0, 1], float64 differs by less than 1e-13, float32 by less than 1e-6. Integers agree exactly.
    A pixel that is NaN or infinite spoils more pixels around it than with numpy, because zero weights meet it as well.
    Where PyTorch may round float32 products (`torch.set_float32_matmul_precision`), they are taken in float64.

    The gradient with respect to the image is exact, of any order. `torch.compile` and `torch.func.vmap` take the
    function whole. Weights are kept on the device for the sizes and scales used last.

    Examples
    --------
    >>> import torch
    >>> from idn_train import imresize
    >>> imresize(torch.arange(16, dtype=torch.uint8).reshape(4, 4), 0.5)
    tensor([[ 2,  5],
            [10, 13]], dtype=torch.uint8)
    """
    _check_image(image)
    # the ends of ranges are plain numbers to `torch.compile` as well, where sizes may be symbols
    height, width = range(image.shape[-2]).stop, range(image.shape[-1]).stop
    device = image.device
    if image.dtype not in FLOATS and not supports_float64(device):
        image = image.cpu()  # whose doubles integers need to be exact
    steps = _plan_passes(height, width, scale, method, size, antialias, boundary, image.device, image.dtype)
    if image.dtype not in FLOATS:
        return _resize_integers(image, steps).to(device)
    kind = steps[0].bands[0].weights.dtype
    if image.dtype == kind:
        return _resample(image, steps)
    return _resample(image.to(kind), steps).to(image.dtype)


def _mark_constant(function: F) -> F:
    """As `torch.compiler.assume_constant_result`, which imports torch's compiler: a second or two of each start."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@_mark_constant
def _plan_passes(
    height: int, width: int, scale: Scale | None, method: Method, size: Size | None, antialias: bool | None,
    boundary: Boundary, device: torch.device, dtype: torch.dtype,
) -> list[Any]:  # fmt: skip
    """What `imresize` does with each axis, in MATLAB's order; `torch.compile` takes it as known."""
    check_boundary(boundary)
    scales, lengths = find_lengths((height, width), scale, size)
    integers = dtype not in FLOATS
    find = _find_taps if integers else _find_resampling
    doubles = dtype == torch.float64 or integers or not _products_are_exact()
    # where there are no doubles (Apple's GPUs), products are not rounded either; integers go to the processor
    kind = torch.float64 if doubles and supports_float64(device) else torch.float32
    return [
        find(axis, (height, width)[axis], lengths[axis], scales[axis], method, antialias, boundary, device, kind)
        for axis in ((-2, -1) if scales[0] <= scales[1] else (-1, -2))
    ]


def _check_image(image: object) -> None:
    if not isinstance(image, Tensor):
        raise TypeError(f"imresize takes torch tensors here; got {type(image).__name__}: use idn_data.imresize")
    if image.dtype not in (*FLOATS, *INTEGERS, torch.bool):
        kinds = ", ".join(str(kind).removeprefix("torch.") for kind in (*FLOATS, *INTEGERS, torch.bool))
        raise TypeError(f"imresize takes {kinds} images; got {image.dtype}; convert it, with to(torch.float64) say")
    if image.ndim < 2 or image.numel() == 0:
        raise ValueError(
            f"imresize takes a non-empty tensor of two dimensions or more (…, H, W); got {tuple(image.shape)}"
        )


def _products_are_exact() -> bool:
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # set one way for all devices and another way for one
        return False


def _resample(x: Tensor, steps: Sequence[Resampling]) -> Tensor:
    if x.requires_grad and not torch.compiler.is_compiling():
        result: Tensor = _Products.apply(x, steps)  # type: ignore[no-untyped-call, unused-ignore]  # until torch 2.14
        return result
    return _multiply_all(x, steps)  # quicker to start; a compiler finds the gradient itself


class _Products(torch.autograd.Function):
    """Resample one axis after the other.

    Torch's own gradient would fill an image of zeros for each band, and compute in bf16 where autocast is on.
    """

    @staticmethod
    def forward(x: Tensor, steps: Sequence[Resampling]) -> Tensor:
        return _multiply_all(x, steps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Sequence[Resampling]], output: Tensor) -> None:
        ctx.steps = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _resample(gradient, [step.flipped for step in reversed(ctx.steps)]), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None], x: Tensor, steps: Sequence[Resampling]) -> tuple[Tensor, int]:
        return _Products.apply(x.movedim(in_dims[0], 0), steps), 0  # type: ignore[no-untyped-call, unused-ignore]  # as above


# `apply` asks for it at every call, and would find it anew
_Products.forward.__signature__ = inspect.signature(_Products.forward)  # type: ignore[attr-defined]  # as PEP 362 has it


def _multiply_all(x: Tensor, steps: Sequence[Resampling]) -> Tensor:
    kind = "cpu" if x.is_meta else x.device.type  # meta knows no autocast
    if torch.is_autocast_enabled(kind):
        with torch.autocast(kind, enabled=False):  # bf16 has 8 bits, too few for pixels
            return _multiply_all(x, steps)
    for step in steps:
        x = _multiply(step.bands, x, step.axis)
    return x


def _multiply(bands: tuple[Band, ...], x: Tensor, axis: int) -> Tensor:
    """The product of a banded matrix with the rows (axis -2) or the columns (-1) of images, (…, H, W)."""
    # bmm and mm, as matmul has to find out that it is them
    whole = x.shape[axis]
    if axis == -2:
        planes = x.reshape(-1, *x.shape[-2:])
        count = planes.shape[0]
        parts = [torch.bmm(b.weights.expand(count, -1, -1), b.cut(planes, whole)) for b in bands]
        result = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
        return result.reshape(*x.shape[:-2], *result.shape[-2:])
    planes = x.reshape(-1, x.shape[-1])
    parts = [torch.mm(b.cut(planes, whole), b.weights.T) for b in bands]
    result = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
    return result.reshape(*x.shape[:-1], -1)


def _resize_integers(image: Tensor, steps: list[Taps]) -> Tensor:
    """As numpy's kernels: sums in float64, tap by tap, rounded half away from zero and saturated after each pass."""
    logical = image.dtype == torch.bool
    limits = torch.iinfo(torch.uint8 if logical else image.dtype)
    x = image.to(torch.float64) * (255 if logical else 1)
    for axis, weights, indices in steps:
        total = torch.zeros((), dtype=torch.float64, device=x.device)
        for w, index in zip(weights, indices, strict=True):
            total = total + x.index_select(axis, index) * (w[:, None] if axis == -2 else w)
        total = total.clamp(limits.min, limits.max)
        # the double before a half, because a half would carry 0.49999999999999994 up to 1
        x = total.sign() * (total.abs() + 0.49999999999999994).floor()
    return x > 128 if logical else x.to(image.dtype)  # safe: whole numbers within the limits


def _find_resampling(
    axis: int, n_in: int, n_out: int, scale: float, method: Method, antialias: bool | None, boundary: Boundary,
    device: torch.device, dtype: torch.dtype,
) -> Resampling:  # fmt: skip
    build = _build_resampling if isinstance(method, str) else _build_resampling.__wrapped__  # as in `compute_weights`
    return build(axis, n_in, n_out, scale, method, antialias, boundary, device, dtype)


def _find_taps(
    axis: int, n_in: int, n_out: int, scale: float, method: Method, antialias: bool | None, boundary: Boundary,
    device: torch.device, dtype: torch.dtype,
) -> Taps:  # fmt: skip
    build = _build_taps if isinstance(method, str) else _build_taps.__wrapped__
    return build(axis, n_in, n_out, scale, method, antialias, boundary, device, dtype)


@lru_cache(maxsize=CACHED)
def _build_resampling(
    axis: int, n_in: int, n_out: int, scale: float, method: Method, antialias: bool | None, boundary: Boundary,
    device: torch.device, dtype: torch.dtype,
) -> Resampling:  # fmt: skip
    weights, indices = compute_weights(n_in, n_out, scale, method, antialias, boundary)
    rows = np.repeat(np.arange(n_out, dtype=np.int64), weights.shape[1])
    columns = indices.astype(np.int64).ravel()  # safe: 0…n_in-1
    height = ROWS if device.type == "cpu" else ROWS_ON_GPU
    if n_out * n_in <= WHOLE:
        height = max(n_out, n_in)
    bands = _cut_bands(rows, columns, weights.ravel(), n_out, height, device, dtype)
    return Resampling(axis, bands, _cut_bands(columns, rows, weights.ravel(), n_in, height, device, dtype))


@lru_cache(maxsize=CACHED)
def _build_taps(
    axis: int, n_in: int, n_out: int, scale: float, method: Method, antialias: bool | None, boundary: Boundary,
    device: torch.device, dtype: torch.dtype,
) -> Taps:  # fmt: skip
    weights, indices = compute_weights(n_in, n_out, scale, method, antialias, boundary)
    with torch.inference_mode(False):
        # copies, because what `compute_weights` keeps is read-only; the cast is safe: 0…n_in-1
        return Taps(axis, torch.tensor(weights.T).to(device), torch.tensor(indices.T.astype(np.int64)).to(device))


def _cut_bands(
    rows: NDArray[np.int64], columns: NDArray[np.int64], values: NDArray[np.float64], count: int,
    height: int, device: torch.device, dtype: torch.dtype,
) -> tuple[Band, ...]:  # fmt: skip
    """A matrix of `count` rows as bands of about `height`.

    The matrix is given by its entries, of which several may meet in one place and add up.
    """
    order = np.argsort(rows, kind="stable")
    rows, columns, values = rows[order], columns[order], values[order]
    edges = np.linspace(0, count, max(1, round(count / height)) + 1).astype(np.int64)  # safe: whole, below 2^24
    bands = []
    with torch.inference_mode(False):  # kept for those who train as well
        for low, high in pairwise(edges):
            part = slice(*np.searchsorted(rows, (low, high)))
            first = int(columns[part].min(initial=columns.max()))
            band = np.zeros((high - low, int(columns[part].max(initial=first)) + 1 - first))
            np.add.at(band, (rows[part] - low, columns[part] - first), values[part])
            bands.append(Band(slice(first, first + band.shape[1]), torch.from_numpy(band).to(dtype).to(device)))
    return tuple(bands)

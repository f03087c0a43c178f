"""idn_train.tensors: imresize of tensors beside that of arrays, and what only tensors have."""

from __future__ import annotations

import doctest
import inspect
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import idn_data
from idn_data import BOUNDARIES, METHODS
from idn_train import imresize, tensors
from idn_train.network import IDN

HOWS: tuple[dict[str, Any], ...] = (
    {"scale": 0.5}, {"scale": 1 / 3}, {"scale": 2}, {"scale": (0.4, 0.9)}, {"scale": (1.7, 0.3)}, {"scale": 0.06},
    {"size": (50, None)}, {"size": (7, 120)},
)  # fmt: skip


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def resize_array(image: torch.Tensor, **how: Any) -> np.ndarray:
    """`idn_data.imresize` with the images' axes last, as tensors have them."""
    array = image.numpy()
    planes = np.moveaxis(array.reshape(-1, *array.shape[-2:]), 0, -1)
    result = np.moveaxis(idn_data.imresize(planes, **how), -1, 0)
    return result.reshape(*array.shape[:-2], *result.shape[1:])


@pytest.fixture
def narrow_bands(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Many bands, however small the image."""
    tensors._build_resampling.cache_clear()
    monkeypatch.setattr(tensors, "ROWS", 3)
    monkeypatch.setattr(tensors, "WHOLE", 0)
    yield
    tensors._build_resampling.cache_clear()


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("method", METHODS)
def test_values_are_those_of_arrays(method: str, boundary: str) -> None:
    image = draw(2, 70, 93)  # two bands and more
    whole = (image * 255).round()
    for how in HOWS:
        for antialias in (None, True, False):
            options = {"method": method, "boundary": boundary, "antialias": antialias, **how}
            expected = resize_array(image, **options)
            got = imresize(image, **options)
            assert got.dtype == torch.float64 and got.shape == expected.shape
            assert np.abs(got.numpy() - expected).max() < 1e-13
            single = imresize(image.float(), **options)
            assert single.dtype == torch.float32
            assert np.abs(single.numpy() - resize_array(image.float(), **options)).max() < 1e-6
            assert np.array_equal(imresize(whole.byte(), **options).numpy(), resize_array(whole.byte(), **options))


@pytest.mark.parametrize("dtype", [*tensors.INTEGERS, torch.bool])
def test_whole_numbers_are_rounded_after_each_pass_as_in_arrays(dtype: torch.dtype) -> None:
    limits = torch.iinfo(torch.uint8 if dtype == torch.bool else dtype)
    image = draw(3, 19, 23) * (limits.max - limits.min) + limits.min  # all of the range, so that sums leave it
    image = (image > 100 if dtype == torch.bool else image.floor()).to(dtype)
    for how in ({"scale": 0.7}, {"scale": (2, 0.5)}, {"scale": 3, "method": "lanczos3"}):
        got, expected = imresize(image, **how), resize_array(image, **how)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got.numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_computed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    image = draw(2, 21, 17).to(dtype)
    assert torch.equal(imresize(image, 1.5), imresize(image.float(), 1.5).to(dtype))


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (3, 2, 0, 1), (1, 3, 2, 0)])
def test_any_layout_and_any_number_of_axes(axes: tuple[int, ...]) -> None:
    image = draw(5, 6, 7, 8).permute(axes)
    expected = torch.stack([imresize(plane.contiguous(), (0.8, 1.3)) for plane in image.flatten(0, 1)])
    got = imresize(image, (0.8, 1.3))
    torch.testing.assert_close(got, expected.unflatten(0, image.shape[:2]), rtol=0, atol=1e-14)
    torch.testing.assert_close(imresize(image[0, 0], (0.8, 1.3)), expected[0], rtol=0, atol=1e-14)
    assert imresize(image[None], (0.8, 1.3)).shape == (1, *got.shape)


def test_a_kernel_of_ones_own_is_not_kept() -> None:
    image = draw(2, 9, 12)
    before = tensors._build_resampling.cache_info()
    width = 2.0
    for power in (1.0, 2.0):

        def kernel(x: np.ndarray, power: float = power) -> np.ndarray:
            return np.maximum(1 - np.abs(x), 0) ** power

        options = {"scale": 1.7, "method": (kernel, width)}
        assert np.abs(imresize(image, **options).numpy() - resize_array(image, **options)).max() < 1e-13
        whole = (image * 255).byte()
        assert np.array_equal(imresize(whole, **options).numpy(), resize_array(whole, **options))
    assert tensors._build_resampling.cache_info() == before


@pytest.mark.usefixtures("narrow_bands")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gradients_of_the_first_and_second_order(method: str, boundary: str) -> None:
    image = draw(2, 7, 6).requires_grad_()
    for how in ({"scale": (0.6, 1.7)}, {"size": (4, 2)}):

        def resize(x: torch.Tensor, how: dict[str, Any] = how) -> torch.Tensor:
            return imresize(x, method=method, boundary=boundary, **how)

        assert torch.autograd.gradcheck(resize, image)
        assert torch.autograd.gradgradcheck(resize, image)


def test_the_gradient_of_a_large_image_is_the_transposed_matrix() -> None:
    image = draw(3, 100, 90).requires_grad_()
    upstream = draw(3, 50, 180, seed=1)
    (got,) = torch.autograd.grad(imresize(image, (0.5, 2)), image, upstream)
    rows, columns = imresize(torch.eye(100).double(), (0.5, 1)), imresize(torch.eye(90).double(), (2, 1))
    torch.testing.assert_close(got, rows.T @ upstream @ columns, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("narrow_bands")
def test_vmap_over_any_axis_and_over_gradients() -> None:
    images = draw(4, 3, 8, 9)
    expected = imresize(images, 1.5)
    for axis in (0, 1):
        got = torch.func.vmap(lambda x: imresize(x, 1.5), in_dims=axis, out_dims=axis)(images)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)

    def energy(x: torch.Tensor) -> torch.Tensor:
        return imresize(x, (0.5, 0.7)).square().sum()

    leaf = images.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(energy(leaf), leaf)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(energy))(images), wanted, rtol=0, atol=1e-14)
    through = torch.func.vmap(lambda x: imresize(x, 1.5))(leaf)  # recorded by autograd outside of vmap
    (wanted,) = torch.autograd.grad(expected_sum(imresize(leaf, 1.5)), leaf)
    torch.testing.assert_close(torch.autograd.grad(expected_sum(through), leaf)[0], wanted, rtol=0, atol=1e-14)


def expected_sum(x: torch.Tensor) -> torch.Tensor:
    return x.pow(3).sum()


def test_a_plan_is_marked_as_torch_marks_a_constant() -> None:
    """By the attribute that its own decorator sets, which would import the compiler at each start."""
    marked = torch.compiler.assume_constant_result(lambda: None)
    assert vars(marked).items() <= vars(tensors._plan_passes).items()
    assert vars(marked)


@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param(
            "inductor",
            marks=pytest.mark.skipif(
                not any(map(shutil.which, ("g++", "clang++", "cl"))), reason="torch.compile finds no C++ compiler"
            ),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of the compiler's own
def test_compiled_whole_with_gradients_at_changing_sizes(backend: str) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: imresize(x, 0.5) * 2, backend=backend, fullgraph=True)
    for n in (40, 52) if backend == "inductor" else (40, 52, 91, 40):
        image = draw(2, n, 81).float().requires_grad_()
        got, expected = compiled(image), imresize(image, 0.5) * 2
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
        gradients = [torch.autograd.grad(y.square().sum(), image)[0] for y in (got, expected)]
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-5)


def test_autocast_changes_nothing() -> None:
    image = draw(2, 60, 70).float().requires_grad_()
    expected = imresize(image, 0.5)
    (wanted,) = torch.autograd.grad(expected.square().sum(), image)
    with torch.autocast("cpu", torch.bfloat16):
        got = imresize(image, 0.5)
        (gradient,) = torch.autograd.grad(got.square().sum(), image)
    assert got.dtype == torch.float32
    assert torch.equal(got, expected) and torch.equal(gradient, wanted)


def test_where_torch_may_round_products_they_are_taken_in_float64() -> None:
    image = draw(1, 64, 64).float()
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        got = imresize(image, 2)
    finally:
        torch.set_float32_matmul_precision(before)
    assert got.dtype == torch.float32
    assert torch.equal(got, imresize(image.double(), 2).float())


def test_weights_are_kept_for_each_size_device_and_precision_and_not_without_bound() -> None:
    build = tensors._build_resampling
    build.cache_clear()
    image = draw(1, 31, 33).float()
    imresize(image, 2)
    assert (build.cache_info().misses, build.cache_info().hits) == (2, 0)
    imresize(image, 2, "Bicubic".lower(), boundary="symmetric")
    assert (build.cache_info().misses, build.cache_info().hits) == (2, 2)
    for other in (image.double(), image[:, 1:, 1:]):
        imresize(other, 2)
    imresize(image, 2, boundary="replicate")
    imresize(image, 2, antialias=False)
    assert (build.cache_info().misses, build.cache_info().hits) == (10, 2)
    assert build.cache_info().maxsize == tensors.CACHED


def test_small_matrices_stay_whole() -> None:
    for n, bands in ((48, [1, 1]), (96, [2, 3])):
        step = tensors._find_resampling(
            -1, n, n // 2, 0.5, "bicubic", None, "symmetric", torch.device("cpu"), torch.float32
        )
        assert [len(step.bands), len(step.transposed)] == bands


def test_the_signature_is_not_found_anew_at_each_call() -> None:
    forward = tensors._Products.forward
    assert inspect.signature(forward) is inspect.signature(forward)
    assert [*inspect.signature(forward).parameters] == ["x", "steps"]


def test_weights_first_made_in_inference_serve_training() -> None:
    tensors._build_resampling.cache_clear()
    image = draw(1, 80, 80)
    with torch.inference_mode():
        expected = imresize(image, 0.5)
    leaf = image.clone().requires_grad_()
    got = imresize(leaf, 0.5)
    assert torch.autograd.grad(got.sum(), leaf)[0].abs().sum() > 0
    assert torch.equal(got, expected)


def test_threads_share_the_weights() -> None:
    images = [draw(40 + k % 5, 50, seed=k) for k in range(40)]
    expected = [imresize(image, 0.7) for image in images]
    tensors._build_resampling.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda image: imresize(image, 0.7), images))
    assert all(map(torch.equal, got, expected))


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.cuda), "mps"])
def test_other_devices_agree_with_the_processor(device: str) -> None:
    if not getattr(torch, device).is_available():
        pytest.skip(f"torch finds no {device} here")
    image = draw(2, 3, 301, 299)
    for how in ({"scale": 2}, {"scale": 0.3, "boundary": "replicate"}, {"size": (150, 400), "method": "lanczos3"}):
        got = imresize(image.float().to(device), **how)
        assert got.device.type == device
        assert (got.cpu().double() - imresize(image, **how)).abs().max() < 1e-6
        if device == "cuda":  # mps has no float64
            assert (imresize(image.cuda(), **how).cpu() - imresize(image, **how)).abs().max() < 1e-13
            whole = (image * 255).byte()
            assert torch.equal(imresize(whole.cuda(), **how).cpu(), imresize(whole, **how))
            with torch.autocast("cuda", torch.bfloat16):
                assert torch.equal(imresize(image.float().cuda(), **how), got)


class NoDoubles(TorchDispatchMode):
    """The device "meta" as one without float64."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                assert tensor.dtype != torch.float64, f"{function} makes doubles"
        return result


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_a_device_without_doubles_gets_none(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setattr(tensors, "supports_float64", lambda device: device.type != "meta")
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: precision)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        with NoDoubles():
            small = imresize(torch.empty(2, 40, 30, device="meta", dtype=dtype), 0.37)
        assert small.dtype == dtype and small.shape == (2, 15, 12) and small.is_meta
    with NoDoubles(), pytest.raises(AssertionError, match="makes doubles"):
        torch.empty(2, device="meta").double()


def test_integers_go_where_there_are_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    image = (draw(3, 41, 33) * 255).byte()
    expected = imresize(image, 0.4)
    taken: list[torch.device] = []
    resize = tensors._resize_integers
    monkeypatch.setattr(tensors, "_resize_integers", lambda x, steps: taken.append(x.device) or resize(x, steps))
    monkeypatch.setattr(tensors, "supports_float64", lambda device: False)
    assert torch.equal(imresize(image, 0.4), expected)
    with pytest.raises(NotImplementedError, match="meta"):  # there is nothing to bring over from it, but it is tried
        imresize(torch.empty(4, 4, device="meta", dtype=torch.uint8), 0.5)
    assert taken == [torch.device("cpu")]


def test_a_tensor_without_memory_has_the_right_shape() -> None:
    assert imresize(torch.empty(2, 40, 30, device="meta"), 0.7).shape == (2, 28, 21)


@pytest.mark.parametrize(
    ("image", "how", "error", "message"),
    [
        (np.zeros((4, 4)), {"scale": 2}, TypeError, "takes torch tensors here; got ndarray: use idn_data.imresize"),
        (torch.zeros(4, 4, dtype=torch.int64), {"scale": 2}, TypeError, r"got torch.int64; convert it, with"),
        (torch.zeros(4, 4, dtype=torch.complex64), {"scale": 2}, TypeError, r"got torch.complex64; convert it"),
        (torch.zeros(4), {"scale": 2}, ValueError, r"two dimensions or more \(…, H, W\); got \(4,\)"),
        (torch.zeros(0, 4, 4), {"scale": 2}, ValueError, r"non-empty tensor .* got \(0, 4, 4\)"),
        (torch.zeros(4, 4), {}, ValueError, "either scale or size, and exactly one of them; got neither"),
        (torch.zeros(4, 4), {"scale": 2, "size": (1, 1)}, ValueError, r"got scale=2 and size=\(1, 1\)"),
        (torch.zeros(4, 4), {"scale": -1}, ValueError, "scale must be one positive number or two .* got -1"),
        (torch.zeros(4, 4), {"size": (0, 2)}, ValueError, r"size must be \(rows, columns\), positive.* got \(0, 2\)"),
        (torch.zeros(4, 4), {"scale": 2, "method": "fancy"}, ValueError, "unknown method 'fancy'; one of bicubic"),
        (torch.zeros(4, 4), {"scale": 2, "boundary": "zero"}, ValueError, "unknown boundary 'zero'; one of symmetric"),
        (torch.zeros(4, 4).byte(), {"scale": 2, "boundary": "zero"}, ValueError, "unknown boundary 'zero'"),
    ],
)
def test_what_cannot_be_resized(image: Any, how: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        imresize(image, **how)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_network_adds_its_residual_to_this_bicubic(boundary: Any) -> None:
    network = IDN(3).eval()
    network.boundary = boundary
    lr = draw(2, 1, 13, 17).float()
    with torch.no_grad():
        base, residual = imresize(lr, 3, boundary=boundary), network.reconstruct(network.blocks(network.features(lr)))
        assert torch.equal(network(lr), base + residual)
    other = imresize(lr, 3, boundary="replicate" if boundary == "symmetric" else "symmetric")
    assert not torch.equal(base, other)
    inner = (slice(None), slice(None), slice(6, -6), slice(6, -6))
    torch.testing.assert_close(base[inner], other[inner], rtol=0, atol=1e-6)
    assert "boundary" not in network.state_dict() and IDN(3).boundary == "symmetric"


def test_the_network_refuses_an_unknown_boundary() -> None:
    network = IDN(2)
    network.boundary = "zero"  # type: ignore[assignment]  # what is tested
    with pytest.raises(ValueError, match="unknown boundary 'zero'; one of symmetric, replicate"):
        network(torch.zeros(1, 1, 4, 4))


def test_the_name_means_the_function_every_time() -> None:
    for _ in range(2):
        from idn_train import imresize as again

        assert again is imresize


def test_example() -> None:
    results = doctest.testmod(tensors)
    assert results.attempted >= 3 and not results.failed

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np
import pytest
from PIL import Image
from support.patchsamples import drop_checksums
from support.trainsets import SMALL, list_tree, make

from idn_data.atomic import BusyError
from idn_data.images.decode import ImageError, list_images, read_y
from idn_data.images.sources import BadImagesError
from idn_data.images.variants import make_variants
from idn_data.matlab.weights import BOUNDARIES, Boundary
from idn_data.patches.patchfile import PatchFile, PatchFileError
from idn_data.patches.plan import Plan
from idn_data.patches.recipe import BATCH, SCALES, STAGES, Recipe
from idn_data.patches.trainplan import Teacher, TrainSet, plan_train
from idn_data.patches.trainset import find_finished, make_train
from idn_data.patches.verify import verify_patches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

RECIPES = [Recipe(scale, stage) for stage in STAGES for scale in SCALES]
REAL = Recipe(4, "finetune")
OLDER = replace(SMALL, boundary="replicate")
REAL_COUNT = 125_312

every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: f"{r.stage}-x{r.scale}")
both_storages = pytest.mark.parametrize("storage", ["float32", "uint8"])


# --- the slow path: the recipe once more, in plain loops, from what the scripts do ---


def slow_keys(x: float) -> float:
    x = abs(x)
    m, d = x.as_integer_ratio()
    cube = m**3 / d**3  # Python divides whole numbers with one rounding; a libm's pow may be an ulp away
    if x <= 1:
        return 1.5 * cube - 2.5 * (x * x) + 1
    return -0.5 * cube + 2.5 * (x * x) - 4 * x + 2 if x <= 2 else 0.0


@cache
def slow_taps(n: int, scale: float, boundary: str) -> list[tuple[list[float], list[int]]]:
    """For each output pixel of one axis: the weights and the input pixels they belong to."""
    shrink = scale < 1
    support = 4 / scale if shrink else 4.0
    table = []
    for i in range(1, math.ceil(scale * n) + 1):
        u = i / scale + 0.5 * (1 - 1 / scale)
        left = math.floor(u - support / 2)
        weights, pixels, total = [], [], 0.0
        for position in range(left, left + math.ceil(support) + 2):
            weight = scale * slow_keys(scale * (u - position)) if shrink else slow_keys(u - position)
            weights.append(weight)
            total += weight
            k = (position - 1) % (2 * n)  # 1 2 … n n … 2 1, over and over
            if boundary == "replicate":
                k = min(max(position - 1, 0), n - 1)
            pixels.append(k if k < n else 2 * n - 1 - k)
        table.append(([w / total for w in weights], pixels))
    return table


def slow_shrink_rows(image: NDArray[np.float64], scale: float, boundary: str) -> NDArray[np.float64]:
    lines = []
    for weights, pixels in slow_taps(len(image), scale, boundary):
        line = np.zeros(image.shape[1])
        for weight, pixel in zip(weights, pixels, strict=True):
            line = line + weight * image[pixel]
        lines.append(line)
    return np.array(lines)


def slow_imresize(image: NDArray[np.float64], scale: float, boundary: str) -> NDArray[np.float64]:
    return slow_shrink_rows(slow_shrink_rows(image, scale, boundary).T, scale, boundary).T


def slow_y(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        pixels = np.asarray(picture).astype(np.int64)
    if pixels.ndim == 2:
        return pixels.astype(np.uint8)
    # Y = 16 + (65.481 R + 128.553 G + 24.966 B)/255 in whole numbers, rounded to the nearest
    thousandths = 65481 * pixels[..., 0] + 128553 * pixels[..., 1] + 24966 * pixels[..., 2]
    return ((16 * 255_000 + thousandths + 127_500) // 255_000).astype(np.uint8)


def slow_variant(y: NDArray[np.uint8], number: int, boundary: str = "symmetric") -> NDArray[np.uint8]:
    turns, flip, downscale = number // 10, number // 5 % 2, number % 5
    image = slow_imresize(y / 255.0, 1.0 - 0.1 * downscale, boundary)
    for _ in range(turns):  # counter-clockwise: the last column becomes the first row
        image = image.T[::-1]
    if flip:
        image = image[::-1]
    return np.floor(np.clip(image * 255, 0, 255) + 0.5).astype(np.uint8)


class SlowPair(NamedTuple):
    gt: NDArray[np.uint8]
    lr: NDArray[np.float32]


def slow_pair(y: NDArray[np.uint8], number: int, scale: int, boundary: str = "symmetric") -> SlowPair:
    variant = slow_variant(y, number, boundary)
    gt = variant[: variant.shape[0] - variant.shape[0] % scale, : variant.shape[1] - variant.shape[1] % scale]
    return SlowPair(gt, slow_imresize(gt / 255.0, 1 / scale, boundary).astype(np.float32))


def assert_rows_are_right(path: Path, folder: Path, rows: list[int]) -> None:
    """Compare rows of a file with the slow path; only `Plan.locate` tells where a patch came from."""
    sources = sorted(p for p in folder.iterdir() if p.is_file())
    sizes = []
    for source in sources:
        with Image.open(source) as picture:
            sizes.append((picture.height, picture.width))
    with h5py.File(path) as file:
        scale, seed, lr_data, gt_data = int(file.attrs["scale"]), int(file.attrs["seed"]), file["lr"], file["gt"]
        p, boundary = lr_data.shape[2], file.attrs.get("boundary", b"symmetric").decode()
        g = p * scale
        plan = Plan(Recipe(scale, file.attrs["stage"].decode(), p), tuple(sizes), seed)  # type: ignore[arg-type]
        assert lr_data.shape == (plan.count, 1, p, p)
        assert gt_data.shape == (plan.count, 1, g, g)
        pairs: dict[tuple[int, int], SlowPair] = {}
        for row in rows:
            image, variant, y, x = plan.locate(row)
            if (image, variant) not in pairs:
                pairs[image, variant] = slow_pair(slow_y(sources[image]), variant, scale, boundary)
            pair = pairs[image, variant]
            gt = pair.gt[y : y + g, x : x + g]
            wanted = gt if gt_data.dtype == np.uint8 else (gt / 255.0).astype(np.float32)
            i, j = y // scale, x // scale
            where = f"row {row}: image {image}, variant {variant}, y {y}, x {x}"
            assert gt_data[row, 0].tobytes() == wanted.tobytes(), where
            assert lr_data[row, 0].tobytes() == pair.lr[i : i + p, j : j + p].tobytes(), where


# --- helpers ---


def hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- right patches ---


@pytest.fixture(scope="module")
def real_images(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each fourth of the 291 images, JPEG and BMP."""
    folder = tmp_path_factory.mktemp("quarter")
    for path in list_images(data_root / "train_data" / "291")[::4]:
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def real_set(real_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainSet]:
    """The finetune file of scale 4 from these, GT as uint8 (0.2 GB); removed after this module."""
    out = tmp_path_factory.mktemp("real") / "idn_fine_tuning_x4.h5"
    yield make(real_images, out, REAL, storage="uint8", seed=7)
    out.unlink()


def test_real_file_against_the_slow_path(real_set: TrainSet, real_images: Path) -> None:
    count = real_set.estimate().patches
    rows = np.random.default_rng(1).choice(count, 120, replace=False).tolist()
    assert_rows_are_right(real_set.out, real_images, [0, count - 1, *rows])


def test_real_file_holds_what_the_recipe_says(real_set: TrainSet) -> None:
    with PatchFile(real_set.out) as file:
        assert (file.scale, file.lr_side, file.gt_side) == (4, 19, 76)
        assert file.count == real_set.estimate().patches > 30_000
        assert file.attributes["source_count"] == len(file.sources()) == 73


def test_real_file_verifies(real_set: TrainSet, real_images: Path) -> None:
    with PatchFile(real_set.out) as file:
        assert verify_patches(file, real_images, workers=2) == 0


def test_estimate_of_the_real_file(real_set: TrainSet, data_root: Path, tmp_path: Path) -> None:
    assert real_set.estimate().bytes == pytest.approx(real_set.out.stat().st_size, rel=0.01)
    whole = plan_train(data_root / "train_data" / "291", tmp_path / "whole.h5", REAL).estimate()
    assert (whole.images, whole.patches) == (291, REAL_COUNT)


@pytest.mark.parametrize("scale", [2, 3])
def test_some_real_images_against_the_slow_path(data_root: Path, tmp_path: Path, scale: int) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for path in list_images(data_root / "train_data" / "291")[5::25]:  # 12 images, JPEG and BMP
        (folder / path.name).symlink_to(path)
    out = tmp_path / "out.h5"
    count = make(folder, out, Recipe(scale, "finetune"), seed=1).estimate().patches
    assert_rows_are_right(out, folder, np.random.default_rng(2).choice(count, 60, replace=False).tolist())
    out.unlink()  # 150 MB


@every_recipe
@both_storages
def test_small_files_against_the_slow_path(photos: Path, tmp_path: Path, recipe: Recipe, storage: str) -> None:
    out = tmp_path / "out.h5"
    count = make(photos, out, recipe, storage=storage, seed=2).estimate().patches
    step = max(1, count // 64)
    assert_rows_are_right(out, photos, list(range(0, count, step)))


def test_every_row_of_a_file_against_the_slow_path(photos: Path, tmp_path: Path) -> None:
    checks = np.kron(np.indices((9, 12)).sum(axis=0) % 2, np.ones((7, 7))).astype(np.uint8) * 255
    Image.fromarray(checks).save(photos / "checks.png")  # black and white: LR overshoots, and must not be clipped
    out = tmp_path / "out.h5"
    count = make(photos, out).estimate().patches
    assert count > 3000
    assert_rows_are_right(out, photos, list(range(count)))
    with h5py.File(out) as file:
        assert file["lr"][:].min() < -0.01
        assert file["lr"][:].max() > 1.01


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_variants_against_the_slow_path(photos: Path, boundary: Boundary) -> None:
    for path in list_images(photos):
        y = slow_y(path)
        np.testing.assert_array_equal(read_y(path), y)
        for number, variant in enumerate(make_variants(y, boundary)):
            np.testing.assert_array_equal(variant, slow_variant(y, number, boundary))


@both_storages
def test_replicated_edges_against_the_slow_path(photos: Path, tmp_path: Path, storage: str) -> None:
    """As the authors' MATLAB made them: every imresize with that border, and the file says so."""
    older, newer = tmp_path / "older.h5", tmp_path / "newer.h5"
    count = make(photos, older, OLDER, storage=storage).estimate().patches
    make(photos, newer, storage=storage)
    assert_rows_are_right(older, photos, list(range(0, count, count // 200)))
    with PatchFile(older) as file, PatchFile(newer) as other:
        assert (file.boundary, file.attributes["boundary"]) == ("replicate", "replicate")
        assert str(file.attributes["recipe"]).endswith("; every imresize with the border replicate")
        assert "boundary" in json.loads(str(file.attributes["digested"]))
        assert other.boundary == "symmetric"
        assert "boundary" not in other.attributes  # files as they were made before it could be chosen
        a, b = file.read(0, count), other.read(0, count)
        assert (a[0] != b[0]).any() and (a[1] != b[1]).any()
        assert verify_patches(file, photos, workers=2) == 0


def test_shards_of_another_border_are_not_kept(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "set.h5"
    make(photos, out, OLDER, shards=2)
    assert find_finished(plan_train(photos, out, OLDER, shards=2)) == [0, 1]
    with pytest.raises(FileExistsError, match="was made with boundary replicate, now symmetric; --force makes all"):
        make(photos, out, shards=2)
    make(photos, out, shards=2, force=True)
    with pytest.raises(FileExistsError, match="was made with boundary symmetric, now replicate; --force makes all"):
        make(photos, out, OLDER, shards=2)


# --- the same bytes ---


@both_storages
def test_bytes_do_not_depend_on_workers_or_memory(photos: Path, tmp_path: Path, storage: str) -> None:
    digests = {}
    for name, workers, options in (
        ("one", 1, {}),
        ("two", 2, {}),
        ("five", 5, {}),
        ("passes", 2, {"memory": 1 << 20}),
    ):
        out = tmp_path / f"{name}.h5"
        made = make(photos, out, workers=workers, storage=storage, **options)
        assert (made.estimate().passes > 1) == (name == "passes")
        digests[name] = hash_file(out)
    assert len(set(digests.values())) == 1, digests


def test_the_folder_name_does_not_change_the_bytes(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "elsewhere")
    make(photos, tmp_path / "a.h5")
    make(tmp_path / "elsewhere", tmp_path / "b.h5")
    assert hash_file(tmp_path / "a.h5") == hash_file(tmp_path / "b.h5")


def test_another_seed_same_patches_in_another_order(photos: Path, tmp_path: Path) -> None:
    recipe = Recipe(2, "pretrain", lr_patch=6)
    contents = []
    for seed in (0, 1):
        made = make(photos, tmp_path / f"{seed}.h5", recipe, seed=seed)
        with PatchFile(made.out) as file:
            lr, gt = file.read(0, file.count)
        contents.append([a.tobytes() + b.tobytes() for a, b in zip(lr, gt, strict=True)])
    assert contents[0] != contents[1]
    left_out = sum((Counter(contents[0]) - Counter(contents[1])).values())
    assert left_out < BATCH  # other patches may fall to the multiple of 64


def test_uint8_storage_loses_nothing(photos: Path, tmp_path: Path) -> None:
    for storage in ("float32", "uint8"):
        make(photos, tmp_path / f"{storage}.h5", storage=storage)
    with h5py.File(tmp_path / "float32.h5") as wide, h5py.File(tmp_path / "uint8.h5") as narrow:
        assert wide["gt"].dtype == np.float32
        assert narrow["gt"].dtype == np.uint8
        assert ((narrow["gt"][:] / 255.0).astype(np.float32)).tobytes() == wide["gt"][:].tobytes()
        assert narrow["lr"][:].tobytes() == wide["lr"][:].tobytes()
    with PatchFile(tmp_path / "float32.h5") as wide_file, PatchFile(tmp_path / "uint8.h5") as narrow_file:
        for a, b in zip(wide_file.read(0, wide_file.count), narrow_file.read(0, narrow_file.count), strict=True):
            assert a.tobytes() == b.tobytes()


# --- provenance ---


def test_attributes_say_how_the_file_was_made(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    made = make(photos, out, seed=11, storage="uint8")
    names = sorted(p.name for p in photos.iterdir())
    digests = [hash_file(photos / name) for name in names]
    whole = hashlib.sha256("".join(f"{n}\0{d}\n" for n, d in zip(names, digests, strict=True)).encode())
    with PatchFile(out) as file:
        said = dict(file.attributes)
        assert file.sources() == list(zip(names, digests, strict=True))
    versions = json.loads(str(said.pop("versions")))
    assert set(versions) == {"hdf5", "idn", "numpy", "numba", "pillow", "h5py"}
    assert versions["numpy"] == np.__version__
    assert versions["hdf5"] == h5py.version.hdf5_version
    assert set(json.loads(str(said.pop("digested")))) == {*said, "versions"}
    for words in ("range_lr", "range_gt", "layout", "channel", "recipe", "checksums"):
        assert said.pop(words)
    assert said == {
        "format": "idn-patches",
        "format_version": 2,
        "scale": 3,
        "stage": "pretrain",
        "lr_patch": 5,
        "gt_patch": 15,
        "seed": 11,
        "storage": "uint8",
        "patches_found": Plan(SMALL, tuple((s.height, s.width) for s in made.sources), 11).found,
        "source_digest": whole.hexdigest(),
        "source_count": 5,
        "source_set": "",
        "skipped": "[]",
        "skipped_count": 0,
        "shard": 0,
        "shards": 1,
    }


def test_the_estimate_of_memory_knows_threads_and_the_order(photos: Path, tmp_path: Path) -> None:
    made = plan_train(photos, tmp_path / "set.h5", SMALL)
    largest = max(s.height * s.width for s in made.sources)
    more = made.estimate(3).memory - made.estimate(1).memory
    assert more == 2 * 37 * largest and made.estimate(1).memory > (300 << 20) + 24 * made.files[0].found


@pytest.mark.parametrize(
    ("given", "said"),
    [({"seed": -1}, r"seed must lie in 0…2\^63-1; got -1"), ({"seed": 1 << 63}, "seed must lie in"),
     ({"storage": "uint16"}, "storage must be one of float32, uint8; got 'uint16'")],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_the_plan(photos: Path, tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plan_train(photos, tmp_path / "set.h5", SMALL, **given)


def test_shards(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "set.h5"
    made = make(photos, out, shards=3, seed=4)
    estimate = made.estimate()
    paths = [tmp_path / f"set.{k}-of-3.h5" for k in (1, 2, 3)]
    assert sorted(p for p in tmp_path.iterdir() if p.is_file()) == paths
    assert estimate.files == tuple(map(str, paths)) and estimate.bytes_left == 0
    paths[1].rename(tmp_path / "kept")
    assert 0 < made.estimate().bytes_left < estimate.bytes / 2  # of the one that is missing
    (tmp_path / "kept").rename(paths[1])
    seen: list[str] = []
    for k, path in enumerate(paths):
        with PatchFile(path) as file:
            assert file.count % BATCH == 0
            assert file.count == estimate.patches_per_file[k] > 0
            names = [name for name, _ in file.sources()]
            assert (file.attributes["shard"], file.attributes["shards"]) == (k, 3)
            assert file.attributes["source_count"] == len(names)
            lr, gt = file.read(0, file.count)
            # all patches of its own images, and of no other, but for those beyond the multiple of 64
            wanted: Counter[bytes] = Counter()
            for name in names:
                y = slow_y(photos / name)
                for variant in range(40):
                    pair = slow_pair(y, variant, 3)
                    for i in range(pair.lr.shape[0] // 5):
                        for j in range(pair.lr.shape[1] // 5):
                            a = pair.lr[5 * i : 5 * i + 5, 5 * j : 5 * j + 5]
                            b = pair.gt[15 * i : 15 * i + 15, 15 * j : 15 * j + 15] / 255.0
                            wanted[a.tobytes() + b.astype(np.float32).tobytes()] += 1
            held = Counter(a.tobytes() + b.tobytes() for a, b in zip(lr, gt, strict=True))
            assert not held - wanted
            assert (wanted - held).total() == file.attributes["patches_found"] - file.count < BATCH
            assert verify_patches(file, photos) == 0
        seen += names
    assert sorted(seen) == sorted(p.name for p in photos.iterdir())


def test_more_shards_than_images(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shards must lie in 1…5, the number of images; got 6"):
        plan_train(photos, tmp_path / "out.h5", SMALL, shards=6)


# --- bad input ---


def spoil(folder: Path) -> None:
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.bmp").write_text("no image")
    whole = (folder / "harbour.bmp").read_bytes()
    (folder / "cut.bmp").write_bytes(whole[: len(whole) // 2])


def test_bad_images_are_all_listed_and_nothing_is_written(photos: Path, tmp_path: Path) -> None:
    spoil(photos)
    out = tmp_path / "new" / "out.h5"
    with pytest.raises(BadImagesError, match=r"3 image\(s\) cannot be used") as caught:
        plan_train(photos, out, SMALL)
    assert [Path(line.split(": ")[0]).name for line in caught.value.lines] == ["cut.bmp", "empty.png", "text.bmp"]
    assert all("\n" not in line for line in caught.value.lines)
    assert "the file is empty" in caught.value.lines[1]
    assert not out.parent.exists()


def test_skipped_images_are_named_in_the_file(photos: Path, tmp_path: Path) -> None:
    make(photos, tmp_path / "sound.h5")
    spoil(photos)
    made = make(photos, tmp_path / "out.h5", skip_bad=True)
    assert made.estimate().skipped == 3
    assert made.estimate().images == 5
    with PatchFile(tmp_path / "out.h5") as file, PatchFile(tmp_path / "sound.h5") as sound:
        skipped = json.loads(str(file.attributes["skipped"]))
        assert file.attributes["skipped_count"] == 3
        for line, name in zip(skipped, ("cut.bmp", "empty.png", "text.bmp"), strict=True):
            assert name in line
        assert file.read(0, file.count)[1].tobytes() == sound.read(0, sound.count)[1].tobytes()
        assert verify_patches(file, photos) == 0  # the bad ones are still there, and passed over


def test_nothing_but_bad_images(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"")
    with pytest.raises(BadImagesError):
        plan_train(folder, tmp_path / "out.h5", SMALL, skip_bad=True)


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        plan_train(tmp_path / "nowhere", tmp_path / "out.h5", SMALL)
    with pytest.raises(FileNotFoundError, match="no images in"):
        plan_train(tmp_path, tmp_path / "out.h5", SMALL)


def test_images_too_small_for_a_batch(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("L", (80, 77)).save(folder / "small.png")
    with pytest.raises(ValueError, match=r"fewer than 64 patches of 76x76 pixels \(the largest is 77x80\)"):
        plan_train(folder, tmp_path / "out.h5", REAL)


def test_a_shard_too_small_for_a_batch(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shard [1-5] of 5: the images yield fewer than 64 patches of 76x76 pixels"):
        plan_train(photos, tmp_path / "out.h5", REAL, shards=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": 1000}, "memory must be at least 1 MiB; got 1000 bytes"),
        ({"seed": -1}, r"seed must lie in 0…2\^63-1; got -1"),
        ({"workers": 0}, "workers must be at least 1; got 0"),
        ({"storage": "float16"}, "storage must be one of float32, uint8; got 'float16'"),
        ({"seed": 2**63}, r"seed must lie in 0…2\^63-1; got 9223372036854775808"),
    ],
    ids=str,
)
def test_bad_options(photos: Path, tmp_path: Path, options: dict[str, object], message: str) -> None:
    out = tmp_path / "new" / "out.h5"
    with pytest.raises(ValueError, match=message):
        make(photos, out, **options)  # type: ignore[arg-type]
    assert not out.parent.exists() or not list(out.parent.iterdir())


# --- nothing lost, nothing half done ---


def test_existing_file_is_left_alone_without_force(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "set.h5"
    out.parent.mkdir()
    out.write_bytes(b"precious")
    made = plan_train(photos, out, SMALL)
    with pytest.raises(FileExistsError, match=r"set\.h5 exists already; --force replaces it"):
        make_train(made)
    assert out.read_bytes() == b"precious"
    assert list_tree(out.parent) == ["set.h5"]
    assert make_train(made, force=True) == [out]
    with PatchFile(out) as file:
        assert file.count == made.estimate().patches
    assert list_tree(out.parent) == ["set.h5"]


def test_a_file_that_appears_meanwhile_is_left_alone(photos: Path, tmp_path: Path) -> None:
    """Two runs with one name: the first to finish wins, and the other says so."""
    out = tmp_path / "out" / "set.h5"
    made = plan_train(photos, out, SMALL)
    with pytest.raises(FileExistsError, match=r"set\.h5 exists already"):
        make_train(made, progress=lambda *_: out.write_bytes(b"precious") and None)
    assert out.read_bytes() == b"precious"
    assert list_tree(out.parent) == ["set.h5"]


def test_one_existing_shard_stops_all(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "set.h5"
    out.parent.mkdir()
    (out.parent / "set.2-of-2.h5").write_bytes(b"precious")
    with pytest.raises(PatchFileError, match=r"set\.2-of-2\.h5: not an HDF5 file, .*; --force makes all shards anew"):
        make(photos, out, shards=2)
    assert list_tree(out.parent) == ["set.2-of-2.h5"]


# --- shards that stand already ---


def stamp(folder: Path) -> dict[str, tuple[int, int]]:
    """Which files these are, whatever they hold."""
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.iterdir()}


def test_finished_shards_are_kept_and_the_others_made(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "set.h5"
    made = make(photos, out, shards=3)
    paths, before = made.paths, {p.name: hash_file(p) for p in out.parent.iterdir()}
    paths[1].unlink()
    first = stamp(out.parent)
    assert find_finished(made) == [0, 2]
    assert make_train(made) == paths
    assert {p.name: hash_file(p) for p in out.parent.iterdir()} == before
    assert {name: stamp(out.parent)[name] for name in first} == first
    assert make_train(made, workers=1) == paths
    second = stamp(out.parent)
    assert make_train(made, force=True) == paths
    assert not set(stamp(out.parent).values()) & set(second.values())
    assert {p.name: hash_file(p) for p in out.parent.iterdir()} == before


def test_a_single_file_is_never_kept(photos: Path, tmp_path: Path) -> None:
    made = make(photos, tmp_path / "set.h5")
    assert find_finished(made) == []
    with pytest.raises(FileExistsError, match=r"set\.h5 exists already; --force replaces it"):
        make_train(made)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, "seed 0, now 1"),
        ({"storage": "uint8"}, "storage float32, now uint8; range_gt"),
        ({"recipe": Recipe(3, "pretrain", lr_patch=6)}, r"lr_patch 5, now 6; patches_found \d+, now \d+; gt_patch 15"),
        ({"recipe": Recipe(3, "finetune", lr_patch=5)}, "stage pretrain, now finetune"),
    ],
    ids=str,
)
def test_shards_of_another_recipe_are_refused(
    photos: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    out = tmp_path / "out" / "set.h5"
    make(photos, out, shards=2)
    before = stamp(out.parent)
    with pytest.raises(
        FileExistsError, match=rf"set\.1-of-2\.h5 was made with {message}.*; --force makes all shards anew, --out names"
    ):
        make(photos, out, shards=2, **options)
    assert stamp(out.parent) == before


def test_shards_of_changed_images_are_refused(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "set.h5"
    make(photos, out, shards=2)
    Image.new("L", (90, 80)).save(photos / "water.png")
    with pytest.raises(
        FileExistsError, match=r"set\.[12]-of-2\.h5 was made from other images, with patches_found .*; --force"
    ):
        make(photos, out, shards=2)
    (photos / "water.png").unlink()
    with pytest.raises(FileExistsError, match=r"was made from other images, with .*; --force makes all shards anew"):
        make(photos, out, shards=2)


def test_other_versions_made_the_same_patches(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idn_data.patches.trainplan.read_versions", lambda: {"numpy": "0.1"})
    made = make(photos, tmp_path / "set.h5", shards=2)
    monkeypatch.undo()
    assert find_finished(made) == [0, 1]


def test_a_damaged_or_foreign_shard_is_refused(photos: Path, tmp_path: Path) -> None:
    made = make(photos, tmp_path / "set.h5", shards=2)
    with h5py.File(made.paths[1], "r+") as file:
        file["crc32"][5] += 1
    with pytest.raises(
        PatchFileError, match=r"set\.2-of-2\.h5: damaged in its /crc32; .*; --force makes all shards anew"
    ):
        make_train(made)
    drop_checksums(made.paths[1])
    with pytest.raises(
        FileExistsError, match=r"set\.2-of-2\.h5 was made with format_version 1, now 2; checksums unknown"
    ):
        make_train(made)


def test_a_shard_that_another_process_makes(photos: Path, tmp_path: Path) -> None:
    made = plan_train(photos, tmp_path / "set.h5", SMALL, shards=2)

    def start_another(what: str, done: int, total: int) -> None:
        if (what, done) == ("shard 2 of 2", 1):  # the first one stands
            with pytest.raises(BusyError, match=r"another idn is writing .*set\.2-of-2\.h5; wait for it"):
                make_train(made)

    make_train(made, progress=start_another)
    assert find_finished(made) == [0, 1]


# --- room ---


def test_too_little_disk_space(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    made = plan_train(photos, tmp_path / "new" / "out.h5", SMALL)
    assert made.estimate().disk_free == 1_000_000
    with pytest.raises(OSError, match=r"the disk is full: \d+\.\d MB needed, 1\.0 MB free; make room"):
        make_train(made)
    assert list_tree(tmp_path) == sorted(["photos", *list_tree(photos)])


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot allocate a file beforehand")
def test_disk_full_after_all(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    out = tmp_path / "out" / "set.h5"
    with pytest.raises(OSError, match=r"the disk is full: \d+\.\d MB needed, [\d.]+ [GM]B free; make room") as caught:
        make(photos, out)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(out)
    assert list_tree(out.parent) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("in the middle")], ids=repr)
@pytest.mark.parametrize("old", [None, b"precious"], ids=["new", "replaced"])
def test_an_interrupt_leaves_nothing_behind(
    photos: Path, tmp_path: Path, error: BaseException, old: bytes | None
) -> None:
    out = tmp_path / "out" / "set.h5"
    out.parent.mkdir()
    if old:
        out.write_bytes(old)
    seen: list[list[str]] = []

    def interrupt(what: str, done: int, total: int) -> None:
        seen.append(list_tree(out.parent))
        if done == 3:
            raise error

    made = plan_train(photos, out, SMALL)
    with pytest.raises(type(error)):
        make_train(made, force=True, workers=2, progress=interrupt)
    assert any(name.endswith(".part") for name in seen[0])  # it was under way
    assert list_tree(out.parent) == (["set.h5"] if old else [])
    assert not old or out.read_bytes() == old


def test_an_image_gone_in_the_middle_leaves_nothing_behind(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "set.h5"
    made = plan_train(photos, out, SMALL)
    (photos / "water.png").unlink()  # the last one
    with pytest.raises(ImageError, match=r"water\.png: no such file"):
        make_train(made)
    assert list_tree(out.parent) == []


def test_an_image_changed_in_the_middle_leaves_nothing_behind(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "set.h5"
    made = plan_train(photos, out, SMALL)
    Image.new("L", (90, 80)).save(photos / "water.png")
    with pytest.raises(ValueError, match="changed while it was in use: 97x97 before, 80x90 now"):
        make_train(made)
    assert list_tree(out.parent) == []


def test_progress_counts_up_to_the_end(photos: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    made = plan_train(photos, tmp_path / "out.h5", SMALL, memory=1 << 20)
    make_train(made, progress=lambda *call: calls.append(call))
    for what in dict.fromkeys(what for what, _, _ in calls):
        mine = [(done, total) for name, done, total in calls if name == what]
        assert mine[-1][0] == mine[-1][1]
        assert mine == sorted(mine)
        assert len({total for _, total in mine}) == 1
    assert max(total for _, _, total in calls) == 5 * made.estimate().passes


# --- the estimate ---


@both_storages
@pytest.mark.parametrize("shards", [1, 2])
def test_estimate(tmp_path: Path, storage: str, shards: int) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (2, 440, 500), dtype=np.uint8)
    for k in (0, 1):
        Image.fromarray(noise[k]).save(folder / f"{k}.png")
    made = plan_train(folder, tmp_path / "new" / "deep" / "out.h5", SMALL, storage=storage, shards=shards)  # type: ignore[arg-type]
    estimate = made.estimate()
    assert not (tmp_path / "new").exists()  # a dry run writes nothing
    paths = make_train(made)
    sizes = [p.stat().st_size for p in paths]
    assert estimate.bytes == pytest.approx(sum(sizes), rel=0.01)
    assert estimate.bytes >= sum(sizes)
    assert estimate.files == tuple(map(str, paths))
    assert estimate.patches == sum(estimate.patches_per_file)
    for path, count in zip(paths, estimate.patches_per_file, strict=True):
        with PatchFile(path) as file:
            assert file.count == count
        path.unlink()  # 50 MB
    assert 0 < estimate.disk_free <= shutil.disk_usage(tmp_path).total


# --- the augmented images ---


def test_a_teacher_answers_for_gt(photos: Path, tmp_path: Path) -> None:
    """One that repeats each LR pixel, which is the same in all orientations: then GT of a patch follows from its LR."""
    asked = []

    def answer(lr: NDArray[np.float64]) -> NDArray[np.float64]:
        asked.append(lr.shape)
        return np.kron(lr, np.ones((3, 3)))

    made = plan_train(photos, tmp_path / "t.h5", SMALL, storage="uint8", teacher=Teacher(answer, ("a" * 64, "b" * 64)))
    make_train(made, workers=1)
    make_train(plan_train(photos, tmp_path / "own.h5", SMALL, storage="uint8"))
    assert len(asked) == 5 * len(made.sources)  # once for each downscale
    with PatchFile(tmp_path / "t.h5") as file, PatchFile(tmp_path / "own.h5") as own:
        assert file.attributes["teacher"] == "a" * 64 + ", " + "b" * 64
        assert "teacher" not in own.attributes
        lr, gt = file.lr[:], file.gt[:]
        assert lr.shape == own.lr.shape
        assert (np.abs(lr - own.lr[:]).max(axis=(1, 2, 3)) < 1e-6).mean() > 0.1  # where no side has to be cropped
        repeated = np.kron(lr[:, 0].astype(np.float64), np.ones((3, 3)))
    wanted = np.floor(np.clip(repeated * 255, 0, 255) + 0.5)
    assert np.abs(gt[:, 0] - wanted).max() <= 1  # LR was rounded to float32, which may turn a half
    assert (gt[:, 0] == wanted).mean() > 0.999


def test_a_teachers_file_does_not_depend_on_the_workers(photos: Path, tmp_path: Path) -> None:
    teacher = Teacher(lambda lr: np.kron(lr, np.ones((3, 3))), ("a" * 64,))
    for workers in (1, 3):
        make_train(plan_train(photos, tmp_path / f"{workers}.h5", SMALL, teacher=teacher), workers=workers)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "3.h5").read_bytes()


def test_an_offset_is_a_folder_of_images_cut_by_hand(photos: Path, tmp_path: Path) -> None:
    """Same patches, in the same rows, as from files that hold the rest of each image; one has nothing left."""
    folder = tmp_path / "cut"
    folder.mkdir()
    shutil.copytree(photos, tmp_path / "whole")
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(2, 32)).save(tmp_path / "whole" / "low.png")
    for path in sorted((tmp_path / "whole").iterdir()):
        pixels = np.asarray(Image.open(path))[2:, 1:]
        if pixels.size:
            Image.fromarray(pixels).save(folder / f"{path.stem}.png")
    recipe = Recipe(3, "pretrain", 5, (2, 1))
    made = plan_train(tmp_path / "whole", tmp_path / "offset.h5", recipe, storage="uint8")
    make_train(made)
    make_train(plan_train(folder, tmp_path / "hand.h5", SMALL, storage="uint8"))
    with PatchFile(tmp_path / "offset.h5") as file, PatchFile(tmp_path / "hand.h5") as hand:
        assert file.attributes["offset"] == [2, 1]
        assert "offset" not in hand.attributes
        assert np.array_equal(file.lr[:], hand.lr[:])
        assert np.array_equal(file.gt[:], hand.gt[:])
        assert verify_patches(file, tmp_path / "whole") == 0
        image, variant, y, x = made.plan(made.files[0]).locate(0)
        shown = list(make_variants(read_y(made.sources[image].path)[2:, 1:]))[variant]
        assert np.array_equal(file.gt[0, 0], shown[y : y + recipe.gt_side, x : x + recipe.gt_side])


def test_shards_of_another_offset_are_not_kept(photos: Path, tmp_path: Path) -> None:
    def plan(*offset: int) -> TrainSet:
        return plan_train(photos, tmp_path / "t.h5", Recipe(3, "pretrain", 5, offset), shards=2)

    make_train(plan(1, 0))
    assert find_finished(plan(1, 0)) == [0, 1]
    for other in ((0, 0), (0, 1)):
        with pytest.raises(FileExistsError, match=rf"was made with offset \[1, 0\], now \[{other[0]}, {other[1]}\]"):
            find_finished(plan(*other))

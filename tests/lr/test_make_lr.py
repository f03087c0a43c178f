"""`make_lr` over folders: names, equal bytes, runs that go on, refusals before any work."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from support.drawing import draw_photo
from support.trainsets import list_tree

from idn_data.atomic import BusyError, hold
from idn_data.images.decode import read_image
from idn_data.images.exact import read_exact, write_exact
from idn_data.images.sources import BadImagesError
from idn_data.lr import making
from idn_data.lr.degrade import cut_picture, reduce_picture
from idn_data.lr.make import LrError, make_lr
from idn_data.lr.plan import plan_lr
from idn_data.lr.record import JOURNAL
from idn_data.lr.reduction import choose_reduction

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ["harbour.png", "meadow.png", "stone.png", "street.png", "water.png"]


def hash_tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("[!.]*") if p.is_file()}


def test_flat(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "lr"
    made = make_lr(photos, out, 4)
    assert (made.made, made.kept, [p.name for p in made.files]) == (5, 0, NAMES)
    assert list_tree(out) == [JOURNAL, *NAMES]
    reduction = choose_reduction(4)
    for source in photos.iterdir():
        wanted = reduce_picture(cut_picture(read_image(source), reduction), reduction)
        np.testing.assert_array_equal(read_image(out / f"{source.stem}.png"), wanted)


def test_layouts(photos: Path, tmp_path: Path) -> None:
    scales = [choose_reduction(2), choose_reduction(2.5)]

    def list_files(layout: str) -> set[str]:
        made = make_lr(photos / "stone.bmp", tmp_path / layout, scales, layout=layout)
        return {path.relative_to(tmp_path / layout).as_posix() for path in made.files}

    assert list_files("flat") == {"x2/stone.png", "x2.5/stone.png"}
    assert list_files("div2k") == {"X2/stonex2.png", "X2.5/stonex2.5.png"}
    kinds = {"LRBI": "LR/LRBI", "HR": "HR"}
    rcan = {f"{folder}/photos/{x}/stone_{kind}_{x}.png" for kind, folder in kinds.items() for x in ("x2", "x2.5")}
    assert list_files("rcan") == rcan
    hr = read_image(photos / "stone.bmp")
    np.testing.assert_array_equal(read_image(tmp_path / "rcan/HR/photos/x2/stone_HR_x2.png"), hr[:100])
    np.testing.assert_array_equal(read_image(tmp_path / "rcan/HR/photos/x2.5/stone_HR_x2.5.png"), hr)


def test_rcan_drops_gt_and_blur_is_called_lrbd(photos: Path, tmp_path: Path) -> None:
    shutil.copyfile(photos / "stone.bmp", photos / "baby_GT.bmp")
    made = make_lr(photos / "baby_GT.bmp", tmp_path / "out", choose_reduction(3, "blur"), layout="rcan")
    assert [p.relative_to(tmp_path / "out").as_posix() for p in made.files] == [
        "LR/LRBD/photos/x3/baby_LRBD_x3.png", "HR/photos/x3/baby_HR_x3.png"
    ]  # fmt: skip


def test_any_number_of_workers_gives_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    trees = []
    for workers in (1, 4):
        make_lr(
            photos, tmp_path / str(workers), [choose_reduction(2), choose_reduction(4)], layout="rcan", workers=workers
        )
        trees.append(hash_tree(tmp_path / str(workers)))
    assert trees[0] == trees[1] and len(trees[0]) == 20


def test_a_second_run_keeps_and_the_missing_are_made(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "lr"
    make_lr(photos, out, 4)
    before = hash_tree(out)
    (out / "stone.png").unlink()
    with monkeypatch.context() as patch:
        read: list[str] = []
        patch.setattr(making, "read_exact", lambda path, **how: read.append(path.name) or read_exact(path, **how))
        again = make_lr(photos, out, 4)
    assert (again.made, again.kept, read) == (1, 4, ["stone.bmp"])
    assert hash_tree(out) == before
    assert len((out / JOURNAL).read_text().splitlines()) == 6
    make_lr(photos, out, 4)
    assert len((out / JOURNAL).read_text().splitlines()) == 5  # written anew, without the outdated line


def test_what_a_killed_run_leaves(photos: Path, tmp_path: Path) -> None:
    """A torn line, a picture with its name and no line, a temporary file, a lock nobody holds."""
    out = tmp_path / "lr"
    make_lr(photos, out, 4)
    before = hash_tree(out)
    lines = (out / JOURNAL).read_text().splitlines(keepends=True)
    (out / JOURNAL).write_text("".join(lines[:2]) + lines[2][:20])
    gone = json.loads(lines[4])["file"]
    (out / gone).rename(out / f".{gone}.part")
    (out / f".{gone}.lock").touch()
    again = make_lr(photos, out, 4)
    assert (again.made, again.kept) == (1, 4)
    assert hash_tree(out) == before
    assert list_tree(out) == [JOURNAL, *NAMES]
    assert len((out / JOURNAL).read_text().splitlines()) == 5


def test_without_the_journal_pictures_are_compared(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "lr"
    make_lr(photos, out, 4)
    (out / JOURNAL).unlink()
    assert make_lr(photos, out, 4).kept == 5
    (out / JOURNAL).unlink()
    with pytest.raises(FileExistsError, match=r"\.png: is there and is not what would be made; --force replaces it"):
        make_lr(photos, out, choose_reduction(4, through="double"))


@pytest.mark.parametrize("change", ["settings", "source", "bytes"])
def test_what_is_there_and_is_not_right_is_refused(photos: Path, tmp_path: Path, change: str) -> None:
    out = tmp_path / "lr"
    make_lr(photos, out, 4)
    reduction = choose_reduction(4, boundary="replicate" if change == "settings" else None)
    if change == "source":
        Image.fromarray(draw_photo(40, 40, 77)).save(photos / "water.png")
    if change == "bytes":
        shutil.copyfile(out / "stone.png", out / "water.png")
    text = {"settings": r"harbour\.png: made with other settings \(and 3 more\); --force replaces them",
            "source": r"water\.png: made of another picture \(water\.png\); --force",
            "bytes": r"water\.png: changed since it was made; --force"}[change]  # fmt: skip
    (out / "street.png").unlink()
    with pytest.raises(FileExistsError, match=text):
        make_lr(photos, out, reduction)
    assert not (out / "street.png").exists()  # before any work
    assert make_lr(photos, out, reduction, force=True).made == 5
    assert make_lr(photos, out, reduction).kept == 5


def test_two_pictures_with_one_name_are_refused(photos: Path, tmp_path: Path) -> None:
    shutil.copyfile(photos / "stone.bmp", photos / "water.bmp")
    with pytest.raises(ValueError, match=r"water\.bmp and .*water\.png would both become .*water\.png; rename"):
        make_lr(photos, tmp_path / "lr", 2)
    assert not (tmp_path / "lr").exists()


def test_names_that_differ_in_case_alone_are_one_on_some_disks(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(photos / "water.png", photos / "Water.png")
    assert make_lr(photos, tmp_path / "lr", 2).made == 6
    monkeypatch.setattr("idn_data.namesakes.tells_case", lambda folder: False)
    with pytest.raises(ValueError, match=r"would both become .*ater\.png; rename"):
        plan_lr(photos, tmp_path / "lr", 2)


def test_an_hr_is_never_replaced(photos: Path) -> None:
    before = hash_tree(photos)
    with pytest.raises(ValueError, match=r"street\.png is the HR picture .*street\.png itself; name another --out"):
        make_lr(photos, photos, 2, force=True)
    assert hash_tree(photos) == before


def test_lr_does_not_lie_among_hr(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(photos)
    for out in (photos, tmp_path / "link"):
        with pytest.raises(ValueError, match=r"water\.tif would lie among the HR pictures; name another --out"):
            plan_lr(photos / "water.png", out, 2, format="tif")
    assert plan_lr(photos / "water.png", photos, 2, layout="div2k").jobs


def test_a_layout_is_not_advised_to_those_who_have_it(photos: Path, tmp_path: Path) -> None:
    for name in ("S1", "S2"):
        shutil.copytree(photos, tmp_path / name / "HR")
    with pytest.raises(ValueError, match=r"rename or leave out one, or give each folder an --out of its own$"):
        plan_lr([tmp_path / "S1" / "HR", tmp_path / "S2" / "HR"], tmp_path / "out", 2, layout="rcan")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are Unicode there")
def test_a_folder_that_is_not_utf8(photos: Path, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/hr\xff"))
    photos.rename(folder)
    with pytest.raises(BadImagesError) as caught:
        plan_lr(folder, tmp_path / "lr", 2, layout="rcan")
    assert all(line.endswith("the name, or its folder's, is not UTF-8; rename it") for line in caught.value.lines)
    assert len(plan_lr(folder, tmp_path / "lr", 2).jobs) == 5


def test_y_of_16_bit_colour_fits_into_a_tiff(tmp_path: Path) -> None:
    write_exact(np.zeros((8, 8, 3), np.uint16), tmp_path / "a.png")
    plan = plan_lr(tmp_path / "a.png", tmp_path / "lr", choose_reduction(2, channel="y"), format="tif")
    assert len(plan.jobs) == 1
    with pytest.raises(BadImagesError) as caught:
        plan_lr(tmp_path / "a.png", tmp_path / "lr", 2, format="tif")
    assert "tif cannot hold 16-bit colour; take --format png" in caught.value.lines[0]


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_an_hr_is_never_replaced_by_another_name_of_its_file(photos: Path, link: Callable[[Path, Path], None]) -> None:
    """Where a disk sees no case, A.png is the file A.PNG: as with a hard link, both names have one number."""
    (photos / "street.png").rename(photos / "A.PNG")
    link(photos / "A.PNG", photos / "A.png")
    before = hash_tree(photos)
    with pytest.raises(ValueError, match=r"A\.png is the HR picture .*A\.PNG itself; name another --out"):
        make_lr(photos / "A.PNG", photos, 2, force=True)
    assert hash_tree(photos) == before


def test_links_into_a_store_are_pictures_of_their_own(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As git-annex, DVC and caches have them: equal pictures are one file, of another name in another folder."""
    photos.rename(tmp_path / "blobs")
    (tmp_path / "Set5").mkdir()
    for name in ("baby.png", "bird.png"):
        (tmp_path / "Set5" / name).symlink_to("../blobs/street.png")
    (tmp_path / "Mine").symlink_to("Set5")
    made = make_lr([tmp_path / "Set5", tmp_path / "Set5/bird.png"], tmp_path / "lr", 4)
    assert ([path.name for path in made.files], made.made) == (["baby.png", "bird.png"], 2)
    monkeypatch.chdir(tmp_path / "Set5")
    for names, folders in (
        ([tmp_path / "Set5"], ["Set5"]),
        ([".", "../Set5", "../blobs/../Set5", tmp_path / "./Set5/baby.png"], ["Set5"]),
        ([tmp_path / "Mine", "."], ["Mine", "Set5"]),
        ([tmp_path / "Mine/../Set5/../Mine"], ["Mine"]),
    ):
        files = plan_lr(names, tmp_path / "out", 4, layout="rcan").files[::2]
        assert [path.relative_to(tmp_path / "out").as_posix() for path in files] == [
            f"LR/LRBI/{folder}/x4/{name}_LRBI_x4.png" for folder in folders for name in ("baby", "bird")
        ]


def test_a_folder_above_a_link_is_the_one_above_its_target(photos: Path, tmp_path: Path) -> None:
    (photos / "below").mkdir()
    (tmp_path / "link").symlink_to(photos / "below")
    plan = plan_lr(tmp_path / "link/../stone.bmp", tmp_path / "out", 4, layout="rcan")
    assert plan.files[0] == tmp_path / "out/LR/LRBI/photos/x4/stone_LRBI_x4.png"


def test_16_bits_stay_and_a_palette_is_applied(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 65536, (24, 20, 3)).astype(np.uint16)
    hr = tmp_path / "hr"
    hr.mkdir()
    write_exact(wide, hr / "colour.png")
    write_exact(wide[..., 0], hr / "grey.png")
    Image.fromarray(draw_photo(24, 20, 0)).quantize(32).save(hr / "palette.png")
    make_lr(hr, tmp_path / "lr", choose_reduction(2))
    colour, grey, palette = (read_exact(tmp_path / "lr" / f"{n}.png") for n in ("colour", "grey", "palette"))
    assert (colour.dtype, colour.shape, grey.dtype, palette.shape) == (np.uint16, (12, 10, 3), np.uint16, (12, 10, 3))
    np.testing.assert_array_equal(colour[..., 0], grey)
    with pytest.raises(BadImagesError, match=r"2 image\(s\) cannot be used") as raised:
        make_lr(hr, tmp_path / "tif", 2, format="bmp")
    assert "colour.png: bmp cannot hold 16-bit colour; take --format png" in raised.value.lines[0]


def test_transparency_is_refused_or_dropped(photos: Path, tmp_path: Path) -> None:
    pixels = draw_photo(20, 20, 0)
    Image.fromarray(np.dstack((pixels, pixels[..., :1]))).save(photos / "window.png")
    with pytest.raises(BadImagesError) as raised:
        make_lr(photos, tmp_path / "lr", 2)
    assert raised.value.lines[0].endswith("window.png: has transparency, which LR pictures have not; leave it out, or "
                                          "take --drop-alpha")  # fmt: skip
    assert not (tmp_path / "lr").exists()
    make_lr(photos, tmp_path / "lr", 2, drop_alpha=True)
    np.testing.assert_array_equal(read_image(tmp_path / "lr/window.png"), reduce_picture(pixels, choose_reduction(2)))


def test_bad_pictures(photos: Path, tmp_path: Path) -> None:
    (photos / "empty.png").touch()
    Image.fromarray(draw_photo(3, 9, 0)).save(photos / "tiny.png")
    with pytest.raises(BadImagesError, match=r"2 image\(s\) cannot be used") as raised:
        make_lr(photos, tmp_path / "lr", 4)
    assert [line.rpartition("/")[2] for line in raised.value.lines] == [
        "empty.png: the file is empty", "tiny.png: 9x3 pixels are too few for scale 4"
    ]  # fmt: skip
    made = make_lr(photos, tmp_path / "lr", 4, skip_bad=True)
    assert (made.made, len(made.skipped)) == (5, 2)


def test_a_picture_that_turns_out_damaged_does_not_stop_the_others(photos: Path, tmp_path: Path) -> None:
    path = photos / "street.png"
    path.write_bytes(path.read_bytes()[:2000])  # its head is whole
    with pytest.raises(LrError, match=r"1 picture\(s\) cannot be used; all others are made; mend them") as raised:
        make_lr(photos, tmp_path / "lr", 4)
    assert "street.png" in raised.value.lines[0]
    assert list_tree(tmp_path / "lr") == [JOURNAL, *(n for n in NAMES if n != "street.png")]
    made = make_lr(photos, tmp_path / "lr", 4, skip_bad=True)
    assert (made.made, made.kept, len(made.skipped)) == (0, 4, 1)


@pytest.mark.parametrize("damage", ["in its pixels", "in its head"])
def test_an_older_file_of_a_damaged_picture_stays_and_is_named(photos: Path, tmp_path: Path, damage: str) -> None:
    """It may be the last that is right; but it is none of this run's, whose scale is another."""
    out = tmp_path / "lr"
    make_lr(photos, out, 4)
    older = (out / "street.png").read_bytes()
    path = photos / "street.png"
    path.write_bytes(path.read_bytes()[: 2000 if damage == "in its pixels" else 10])
    made = make_lr(photos, out, 2, force=True, skip_bad=True)
    assert [p.name for p in made.files] == [name for name in NAMES if name != "street.png"]
    assert (made.made, made.kept) == (4, 0)
    assert made.skipped[0].startswith(f"{path}: ")
    assert made.skipped[0].endswith(f"; an older {out}/street.png stays: remove it, or mend the picture")
    assert (out / "street.png").read_bytes() == older
    (out / "street.png").unlink()
    (line,) = make_lr(photos, out, 2, skip_bad=True).skipped
    assert "; an older" not in line


def test_older_files_of_a_picture_that_stops_the_run_are_named(photos: Path, tmp_path: Path) -> None:
    make_lr(photos, tmp_path / "lr", 4, layout="rcan")
    path = photos / "street.png"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(LrError) as raised:
        make_lr(photos, tmp_path / "lr", 4, layout="rcan", force=True)
    assert raised.value.lines[0].endswith("street_LRBI_x4.png and 1 more stays: remove it, or mend the picture")


def test_a_picture_that_another_process_finishes_meanwhile_is_compared(photos: Path, tmp_path: Path) -> None:
    """Such as a worker of a cluster that was thought lost."""
    first, second = (plan_lr(photos / "stone.bmp", tmp_path / "out", scale).jobs[0] for scale in (4, 2))
    late, other = making.compute_picture(first, False), making.compute_picture(second, False)
    assert making.store_picture(making.compute_picture(first, False), False).stood == 0
    stored = making.store_picture(late, False)
    assert (stored.stood, stored.bad, len(stored.files)) == (1, (), 1)
    with pytest.raises(FileExistsError, match=r"stone\.png: is there and is not what would be made; --force replaces"):
        making.store_picture(other, False)


def test_links_in_the_place_of_lr_are_replaced_and_not_what_they_lead_to(photos: Path, tmp_path: Path) -> None:
    """In a store two equal LR are links to one file; of other HR they are no longer equal."""
    out = tmp_path / "lr"
    out.mkdir()
    (tmp_path / "blob").write_bytes(b"shared")
    for name in NAMES[:2]:
        (out / name).symlink_to("../blob")
    (out / NAMES[2]).symlink_to("../not-fetched")
    assert make_lr(photos, out, 4, force=True).made == 5
    make_lr(photos, tmp_path / "other", 4)
    assert hash_tree(out) == hash_tree(tmp_path / "other")
    assert (tmp_path / "blob").read_bytes() == b"shared" and not (tmp_path / "not-fetched").exists()


def test_one_process_at_a_time(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "lr").mkdir()
    with hold(tmp_path / "lr"), pytest.raises(BusyError, match="another idn is writing"):
        make_lr(photos, tmp_path / "lr", 4)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"layout": "edsr"}, ValueError, "unknown layout 'edsr'; one of flat, div2k, rcan"),
        ({"format": "jpg"}, ValueError, "unknown format 'jpg'; one of png, bmp, tif"),
        ({"reductions": [choose_reduction(4), choose_reduction(4)]}, ValueError, "give each scale once; got 4, 4"),
        ({"hr": "nowhere"}, FileNotFoundError, "no such file or folder: nowhere; name HR pictures"),
    ],
)
def test_wrong_options(photos: Path, tmp_path: Path, options: dict, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make_lr(**{"hr": photos, "out": tmp_path / "lr", "reductions": 4, **options})
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is a file; name a folder with --out"):
        make_lr(photos, tmp_path / "file", 4)


@pytest.mark.parametrize("boundary", ["symmetric", "replicate", "blurred"])
def test_matlabs_own(data_root: Path, matlab_folder: Path, tmp_path: Path, boundary: str) -> None:
    """Every picture that MATLAB made: equal in every value; of the blurred ones, one value may differ."""
    if boundary == "blurred":
        reductions = [choose_reduction(3, "blur")]
    else:
        reductions = [choose_reduction(scale, boundary=boundary) for scale in (2, 3, 4)]
    make_lr(data_root / "test_data" / "Set5", tmp_path, reductions, layout="rcan")
    references = sorted((matlab_folder / boundary).glob("*.png"))
    assert references
    for reference in references:
        mine = next((tmp_path / "LR").rglob(reference.name))
        assert (read_image(mine) != read_image(reference)).sum() <= (boundary == "blurred"), reference.name

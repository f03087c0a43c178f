from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from support.trainsets import SMALL, list_tree

from idn_data.images.decode import list_images, read_y
from idn_data.images.variants import make_variants
from idn_data.patches.augmented import check_names, save_augmented
from idn_data.patches.trainplan import plan_train

if TYPE_CHECKING:
    from pathlib import Path


def test_save_augmented(photos: Path, tmp_path: Path) -> None:
    made = plan_train(photos, tmp_path / "out.h5", SMALL)
    folder = tmp_path / "new" / "aug"
    assert save_augmented(made.sources, folder, workers=2) == 200
    assert list_tree(folder) == sorted(f"{p.stem}_{k}.bmp" for p in list_images(photos) for k in range(40))
    for path in list_images(photos):
        for k, variant in enumerate(make_variants(read_y(path))):
            with Image.open(folder / f"{path.stem}_{k}.bmp") as picture:
                assert (picture.format, picture.mode) == ("BMP", "L")
                np.testing.assert_array_equal(np.asarray(picture), variant)


def test_save_augmented_refuses_equal_stems(photos: Path, tmp_path: Path) -> None:
    made = plan_train(photos, tmp_path / "out.h5", SMALL)
    (photos / "harbour.tif").write_bytes(b"")  # not decoded: only the name counts
    message = r"harbour\.bmp and .*harbour\.tif would both become .*harbour_<0…39>\.bmp; rename or leave out one"
    with pytest.raises(ValueError, match=message):
        check_names(photos, tmp_path)
    check_names(photos, tmp_path, skip_bad=True)
    with pytest.raises(ValueError, match="photos is the folder of the images; save their variants to another"):
        check_names(photos, photos, skip_bad=True)
    twice = (*made.sources, replace(made.sources[0], path=photos / "harbour.tif"))
    with pytest.raises(ValueError, match=message):
        save_augmented(twice, tmp_path / "aug")
    assert not (tmp_path / "aug").exists()


@pytest.mark.parametrize("number", [0, 7, 39])
def test_save_augmented_refuses_a_name_that_stands_before_writing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    made = plan_train(photos, tmp_path / "out.h5", SMALL)
    folder = tmp_path / "aug"
    folder.mkdir()
    (folder / f"stone_{number}.bmp").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=rf"stone_{number}\.bmp exists already"):
        save_augmented(made.sources, folder)
    assert list_tree(folder) == [f"stone_{number}.bmp"]
    assert save_augmented(made.sources, folder, force=True) == 200
    (folder / f"harbour_{number}.bmp").unlink()
    monkeypatch.setattr("idn_data.atomic.free_bytes", lambda folder: 100_000)  # for one of them, not for all
    assert save_augmented(made.sources, folder) == 200  # what a stopped command made is kept
    assert len(list_tree(folder)) == 200

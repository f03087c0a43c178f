from __future__ import annotations

import csv
import hashlib
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from idn_data.images.sets import (
    find_data_root,
    find_fixtures,
    find_present_sets,
    find_set,
    list_registered,
    locate_set,
    read_published,
    read_registry,
    recognise_set,
)
from idn_data.images.sources import BadImagesError, Source, digest_sources, read_folder, read_sources
from idn_data.workers import count_workers, map_in_order


def test_find_fixtures() -> None:
    held = {p.name for p in find_fixtures().iterdir()}
    assert held >= {"exact.json", "matlab_matrices.json", "published_scores.csv", "registry.csv", "make_reference.m"}


def test_data_root_as_given_then_environment_then_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDN_DATA", "/from/environment")
    assert find_data_root("/as/given") == Path("/as/given")
    assert find_data_root(Path("/as/given")) == Path("/as/given")
    assert find_data_root() == find_data_root(None) == Path("/from/environment")
    monkeypatch.setenv("IDN_DATA", "")
    assert find_data_root() == Path("data")
    monkeypatch.delenv("IDN_DATA")
    assert find_data_root() == Path("data")


def test_find_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test, own = tmp_path / "train_data" / "291", tmp_path / "test_data" / "Urban100", tmp_path / "mine"
    for folder in (train, test, own):
        folder.mkdir(parents=True)
    assert find_set("291", tmp_path) == train
    assert find_set("Urban100", tmp_path) == test
    assert find_set(str(own), tmp_path) == own
    monkeypatch.chdir(tmp_path)
    assert find_set("mine", Path("elsewhere")) == Path("mine")
    (tmp_path / "Set5").mkdir()
    with pytest.raises(FileNotFoundError):  # a known name means the data root alone
        find_set("Set5", tmp_path)


def test_find_set_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = tmp_path / "test_data" / "Set5"
    with pytest.raises(
        FileNotFoundError, match=r"Set5 is not in .*; name the data root with .*, or get it with: idn fetch Set5"
    ) as e:
        find_set("Set5", tmp_path)
    assert str(where) in str(e.value) and "--data-root or IDN_DATA" in str(e.value)
    assert str(e.value).endswith(f"get it with: idn fetch Set5 --data-root {tmp_path}")
    monkeypatch.setenv("IDN_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"291 is not in .*; .* get it with: idn fetch 291$"):
        find_set("291", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no test set below .*, or get one with: idn fetch Set5$"):
        find_present_sets(tmp_path)
    said = r"no set or folder 'Set6'; one of 291, Set5, Set14, B100, Urban100, or the path of a folder"
    with pytest.raises(FileNotFoundError, match=said):
        find_set("Set6", tmp_path)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FileNotFoundError, match="no set or folder"):
        find_set(str(tmp_path / "file"), tmp_path)


def test_digest() -> None:
    a, b = Source(Path("here/a.png"), 3, 4, "1" * 64), Source(Path("here/b.png"), 5, 6, "2" * 64)
    whole = hashlib.sha256(b"a.png\0" + b"1" * 64 + b"\n" + b"b.png\0" + b"2" * 64 + b"\n").hexdigest()
    assert digest_sources([a, b]) == whole
    moved = [Source(Path("/there/a.png"), 3, 4, "1" * 64), Source(Path("/there/b.png"), 5, 6, "2" * 64)]
    assert digest_sources(moved) == whole  # wherever it lies
    renamed = Source(Path("here/c.png"), 5, 6, "2" * 64)
    changed = Source(Path("here/b.png"), 5, 6, "3" * 64)
    assert len({whole, digest_sources([b, a]), digest_sources([a]), digest_sources([a, renamed]),
                digest_sources([a, changed]), digest_sources([])}) == 6  # fmt: skip


def test_count_workers() -> None:
    assert count_workers(3) == 3
    assert 1 <= count_workers() <= (os.cpu_count() or 1)
    for workers in (0, -2):
        with pytest.raises(ValueError, match=f"workers must be at least 1; got {workers}"):
            count_workers(workers)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order(workers: int) -> None:
    def square(k: int) -> int:
        time.sleep(0.004 * (3 - k % 4))  # later items are done sooner
        return k * k

    assert list(map_in_order(square, range(23), workers)) == [k * k for k in range(23)]
    assert list(map_in_order(square, [], workers)) == []


def test_work_is_shared() -> None:
    barrier = threading.Barrier(3, timeout=20)  # passed only by three at once
    assert list(map_in_order(lambda k: (barrier.wait() >= 0, k), range(3), 3)) == [(True, k) for k in range(3)]


def test_few_are_in_flight() -> None:
    started = []
    results = map_in_order(started.append, range(500), 2)
    for taken in range(1, 6):
        next(results)
        time.sleep(0.02)  # long enough for idle threads to run ahead as far as they may
        assert len(started) <= taken + 4
    results.close()  # type: ignore[attr-defined]
    assert len(started) <= 9


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_comes_through_and_stops_the_rest(workers: int) -> None:
    started, taken = [], []

    def work(k: int) -> int:
        started.append(k)
        if k == 5:
            raise KeyError("five")
        return k

    before = threading.active_count()
    results = map_in_order(work, range(500), workers)
    with pytest.raises(KeyError, match="five"):
        taken.extend(results)
    assert taken == [0, 1, 2, 3, 4]
    assert len(started) <= 5 + 2 * workers
    assert threading.active_count() == before


def test_stopping_early_ends_the_threads() -> None:
    before = threading.active_count()
    started, go_on = [], threading.Event()

    def work(k: int) -> int:
        started.append(k)
        assert k == 0 or go_on.wait(20)
        return k

    results = map_in_order(work, range(500), 1)
    assert next(results) == 0  # 1 is running or about to, 2 waits
    timer = threading.Timer(1.0, go_on.set)
    timer.start()
    results.close()  # type: ignore[attr-defined]
    timer.join()
    assert started in ([0], [0, 1])
    assert threading.active_count() == before


def test_read_folder(photos: Path) -> None:
    (photos / "notes.txt").write_text("not an image, and not taken for one")
    seen = []
    sources, bad = read_folder(photos, workers=2, progress=lambda *step: seen.append(step))
    assert bad == []
    assert [(s.name, s.height, s.width) for s in sources] == [
        ("harbour.bmp", 120, 97),
        ("meadow.jpg", 97, 130),
        ("stone.bmp", 101, 96),
        ("street.png", 131, 122),
        ("water.png", 97, 97),
    ]
    for source in sources:
        assert source.path == photos / source.name
        assert source.sha256 == hashlib.sha256(source.path.read_bytes()).hexdigest()
    assert seen == [("reading images", k, 5) for k in range(1, 6)]
    assert read_folder(str(photos), workers=1) == (sources, [])


def test_read_folder_with_bad_images(photos: Path) -> None:
    sound = read_folder(photos)[0]
    (photos / "empty.png").write_bytes(b"")
    (photos / "text.bmp").write_text("not an image")
    with pytest.raises(BadImagesError, match=r"2 image\(s\) cannot be used$") as error:
        read_folder(photos)
    assert isinstance(error.value, ValueError)
    assert len(error.value.lines) == 2
    assert error.value.lines[0] == f"{photos / 'empty.png'}: the file is empty"
    assert str(photos / "text.bmp") in error.value.lines[1]
    sources, bad = read_folder(photos, skip_bad=True)
    assert sources == sound
    assert bad == list(error.value.lines)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are Unicode")
def test_a_name_that_is_no_utf8(photos: Path) -> None:
    (photos / os.fsdecode(b"caf\xe9.png")).write_bytes((photos / "street.png").read_bytes())
    with pytest.raises(BadImagesError) as caught:
        read_folder(photos)
    assert [line.rpartition("/")[2] for line in caught.value.lines] == [
        r"caf\udce9.png': the name is not UTF-8; rename the file"
    ]
    assert len(read_folder(photos, skip_bad=True)[0]) == 5


def test_read_folder_with_nothing_but_bad_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(BadImagesError, match=r"1 image\(s\) cannot be used"):
        read_folder(tmp_path, skip_bad=True)


def test_read_folder_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no images in"):
        read_folder(tmp_path)
    with pytest.raises(ValueError, match="workers must be at least 1; got 0"):
        read_sources([tmp_path / "a.png"], 0)


def test_a_file_that_vanishes_is_a_bad_image(tmp_path: Path) -> None:
    sources, bad = read_sources([tmp_path / "gone.png"])
    assert sources == []
    assert bad == [f"{tmp_path / 'gone.png'}: no such file"]


def test_registry() -> None:
    registry = read_registry()
    assert {name: len(files) for name, files in registry.items()} == {
        "291": 291, "Set5": 5, "Set14": 14, "B100": 100, "Urban100": 100
    }  # fmt: skip
    assert all(len(digest) == 64 and int(digest, 16) for files in registry.values() for digest in files.values())


def test_registered_files() -> None:
    files = list_registered()
    assert len(files) == len({f.path for f in files}) == len({(f.set, f.name) for f in files}) == 510
    assert sum(f.bytes for f in files) == 97_915_527
    for file in files:
        folder = "train" if file.set == "291" else "test/test_data"
        assert file.path == f"{folder}/{file.set}/{file.name}"
        assert Path(file.name).name == file.name and not file.name.startswith(".")
        assert 0 < file.bytes < 2_000_000


def test_registered_sizes(data_root: Path) -> None:
    for file in list_registered():
        if file.set != "Urban100":
            assert (locate_set(file.set, data_root) / file.name).stat().st_size == file.bytes


def test_recognise_set() -> None:
    files = read_registry()["Set5"]
    sources = [Source(Path("anywhere") / name, 1, 1, digest) for name, digest in files.items()]
    assert recognise_set(sources) == "Set5"
    assert recognise_set(sources[::-1]) == "Set5"
    assert recognise_set(sources[1:]) is None
    assert recognise_set([*sources[1:], Source(sources[0].path, 1, 1, "0" * 64)]) is None
    assert recognise_set([*sources, Source(Path("more.png"), 1, 1, "0" * 64)]) is None
    assert recognise_set([]) is None


@pytest.mark.parametrize(("name", "count"), [("Set5", 5), ("Set14", 14), ("B100", 100), ("291", 291)])
def test_recognise_the_real_sets(data_root: Path, name: str, count: int) -> None:
    folder = find_set(name, data_root)
    sources, bad = read_folder(folder)
    assert (len(sources), bad) == (count, [])
    assert recognise_set(sources) == name


def test_published_values() -> None:
    published = read_published()
    assert len(published) == 54
    assert published["Set5", 2, "bicubic"] == (33.68, 0.9304)
    assert published["Set14", 3, "bicubic"] == (27.54, 0.7746)
    assert published["Urban100", 4, "bicubic"] == (23.14, 0.6588)
    assert published["Set5", 2, "IDN (Original)"] == (37.83, 0.96)
    assert published["Set5", 4, "IDN (Original)"] == (31.82, 0.8903)
    assert published["Set5", 4, "RCAN"] == (32.63, 0.9002)
    assert published["Set5", 4, "IDN (TensorFlow) pretrain"] == (31.24, 0.8797)
    assert published["Set5", 4, "IDN (TensorFlow) finetune"] == (31.39, 0.8846)
    for (name, _, _), (psnr, ssim) in published.items():
        assert name in ("Set5", "Set14", "B100", "Urban100")
        assert 20 < psnr < 40 and 0.6 < ssim < 1


def test_published_values_get_worse_with_the_scale() -> None:
    published = read_published()
    for name, scale, method in published:
        if scale > 2:
            assert all(
                a < b for a, b in zip(published[name, scale, method], published[name, scale - 1, method], strict=True)
            )


def test_published_table_names_its_protocol() -> None:
    with (find_fixtures() / "published_scores.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    own = {"IDN (Original)": "uint8 protocol", "RCAN": "y protocol", "RCAN+": "y protocol"}
    assert all(own.get(r["method"], "float protocol") in r["note"] for r in rows)

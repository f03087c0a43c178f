"""Mutated CSV and ZIP, for `fuzzing`."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
from support.fuzzing import TOKENS, Rng, mutate, pick

from idn_data.images import sets
from idn_data.images.download import FetchError, open_local
from idn_data.images.fetch import fetch_files
from idn_data.images.sets import Registered
from idn_train import metrics
from idn_train.report.curves import draw_curve


def make_csv(data: bytes, rng: Rng) -> bytes:
    """A CSV changed as text, or field by field."""
    if rng.random() < 0.4:
        return mutate(data, rng, text=True)
    lines = [line.split(b",") for line in data.splitlines()]
    for _ in range(int(rng.integers(1, 5))):
        row = pick(rng, lines)
        match int(rng.integers(6)):
            case 0 if row:
                del row[int(rng.integers(len(row)))]
            case 1:
                row.append(b"more")
            case 2:
                lines.append(list(row))
            case 3 if row:
                row[int(rng.integers(len(row)))] = b'"' + b"x" * 200_000 if rng.random() < 0.05 else b'"a\n'
            case _ if row:
                row[int(rng.integers(len(row)))] = pick(rng, TOKENS).encode()
    return b"\n".join(b",".join(row) for row in lines) + b"\n"


class Csv:
    """metrics.csv as a report and a resumed run read it, and registry.csv."""

    allowed: tuple[type, ...] = (ValueError,)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "published_scores.csv").write_text("set\n")
        rows = [
            {
                "step": str(k),
                "epoch": "0",
                "loss": "0.5",
                "rate": "1e-3",
                "psnr": "" if k % 2 else "30.1",
                "seconds": f"{k}.5",
            }
            for k in range(9)
        ]
        metrics.write_rows(folder / "metrics.csv", rows)
        self.metrics = (folder / "metrics.csv").read_bytes()
        self.registry = b"\n".join((sets.find_fixtures() / "registry.csv").read_bytes().splitlines()[:6]) + b"\n"
        sets.find_fixtures = lambda: folder  # type: ignore[assignment]

    def write(self, rng: Rng) -> None:
        """One of both."""
        self.which = pick(rng, ("metrics", "metrics", "registry"))
        (self.folder / f"{self.which}.csv").write_bytes(make_csv(getattr(self, self.which), rng))

    def read(self) -> None:
        """Rows, points and a curve; or the list of files, whose names must stay where they belong."""
        if self.which == "registry":
            sets.list_registered.cache_clear()
            for file in sets.list_registered():
                path = sets.locate_set(file.set, Path("/data")) / file.name
                assert path == Path(os.path.normpath(path)) and file.bytes >= 0 and "\n" not in str(path)
                assert str(path).startswith(("/data/train_data/", "/data/test_data/"))
            return
        from idn_train.report.runs import _read_points

        points = _read_points(self.folder / "metrics.csv")
        assert all(p.step >= 0 for p in points)
        draw_curve(metrics.read_metrics(self.folder / "metrics.csv"), "x")


class Zip:
    """`open_local` of a ZIP, and `fetch_files` from it into a data root."""

    allowed: tuple[type, ...] = (FetchError,)

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.root = folder, folder / "a.zip", folder / "root"
        rng = np.random.default_rng(0)
        self.contents = {f"{n}.bmp": bytes(rng.integers(0, 8, 5000, np.uint8)) for n in "abc"}
        self.files = [
            Registered("Set5", n, len(d), hashlib.sha256(d).hexdigest(), f"test/test_data/Set5/{n}")
            for n, d in self.contents.items()
        ]
        self.files.append(
            Registered("Set14", "é.bmp", 3, hashlib.sha256(b"abc").hexdigest(), "test/test_data/Set14/é.bmp")
        )

    def write(self, rng: Rng) -> None:
        """A ZIP, its entries odd, its bytes changed."""
        warnings.simplefilter("ignore")  # zipfile's, of duplicate names; this runs outside of what is judged
        stream = io.BytesIO()
        kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        with zipfile.ZipFile(stream, "w", pick(rng, kinds)) as archive:
            for name, data in self.contents.items():
                top = pick(
                    rng,
                    (
                        "IDN-Caffe/test/test_data/Set5/",
                        "test/test_data/Set5/",
                        "Set5/",
                        "",
                        "../",
                        "/",
                        "../../../x/",
                        "C:\\",
                        "a\\b\\",
                        "\0",
                    ),
                )
                info = zipfile.ZipInfo(
                    pick(
                        rng,
                        (
                            top + name,
                            top + name,
                            top + name,
                            top + "é" + name,
                            f"IDN-Caffe/../../{name}",
                            "/etc/passwd",
                            "",
                        ),
                    )
                )
                info.compress_type = pick(rng, kinds)
                if rng.random() < 0.1:
                    info.external_attr = 0o120777 << 16  # a symlink
                    data = pick(rng, (b"/etc/passwd", b"../../canary"))
                if rng.random() < 0.05:
                    data = data[:-1] + b"\0"
                for _ in range(int(pick(rng, (1, 1, 1, 1, 2)))):
                    archive.writestr(info, data)
            if rng.random() < 1 / 300:
                big = zipfile.ZipInfo("Set5/a.bmp")
                big.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(big, bytes(100 << 20))
            if rng.random() < 1 / 1000:
                for k in range(60_000):
                    archive.writestr(f"{k}/Set5/a.bmp" if k % 2 else "Set5/a.bmp", b"", zipfile.ZIP_STORED)
            archive.comment = pick(rng, (b"", b"", b"PK\5\6" * 20, bytes(60000)))
        data = stream.getvalue()
        if rng.random() < 0.75:
            at = data.rfind(b"PK\1\2") if rng.random() < 0.5 else data.rfind(b"PK\5\6") if rng.random() < 0.3 else -1
            data = data[:at] + mutate(data[at:], rng) if at > 0 and rng.random() < 0.9 else mutate(data, rng)
        self.path.write_bytes(data)

    def read(self) -> None:
        """All files; nothing may appear but they, whole, below the root."""
        shutil.rmtree(self.root, ignore_errors=True)
        before = set(self.folder.parent.iterdir()) | set(self.folder.iterdir())
        with open_local(self.path) as read:
            outcomes = fetch_files(self.files, self.root, read, workers=2)
        assert set(self.folder.parent.iterdir()) | set(self.folder.iterdir()) <= before | {
            self.root
        } or self.folder.parent == Path("/tmp")
        for path in self.root.rglob("*"):
            assert path.is_dir() or (
                path.read_bytes() == self.contents.get(path.name, b"abc") and not path.is_symlink()
            ), path
        for outcome in outcomes:
            assert outcome.state in ("fetched", "failed") and len(outcome.why.splitlines()) <= 1, outcome
            assert outcome.state == "fetched" or outcome.why, outcome

"""The search for what made LR pictures: the usual first, then blurs, other cuts, shifts and JPEG, until something fits.

Each trial is made for the upper left corner of the first picture; what comes near is made for all pictures, whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import correlate1d

from idn_data.lr.candidates import BLUR_KERNELS, BLUR_SIGMAS, Candidate, Difference, list_blurs, measure
from idn_data.lr.pictures import Jpeg
from idn_data.lr.shifts import estimate_shift
from idn_data.lr.trials import CORNER, MARGIN, Bench, Preparation, Trial, compress, convert_channel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from idn_data.workers import Progress

LIKELY = 0.02  # share of values that may differ in a corner for a trial to be made for all pictures
NEAR, STEP = 1e-3, 1  # a trial fits if at most this share differs, by at most this much: another rounding of halves
ALIKE = 30.0  # mean square, in 8-bit steps, below which LR is a picture of this HR at all
LEAST_SHIFT, MOST_SHIFT = 0.08, 4.0  # LR pixels between which an estimate says something
MOST_JPEG = 400.0  # mean square, in 8-bit steps, beyond which no JPEG is looked for
QUALITIES = range(100, 29, -1)


@dataclass(frozen=True)
class Fit:
    """A trial, its difference, and of how many whole pictures that is (0: of a corner of the first)."""

    trial: Trial
    difference: Difference
    pictures: int

    @property
    def mean_square(self) -> float:
        """Of the difference, in squared steps of the integers."""
        return self.difference.squares / self.difference.values

    @property
    def good(self) -> bool:
        """Whether this may be what made the pictures."""
        return self.pictures > 0 and self.difference.share <= NEAR and self.difference.largest <= STEP


class Search:
    """The trials made so far, and the stages that make more."""

    def __init__(
        self, bench: Bench, candidates: Sequence[Candidate], preparations: Sequence[Sequence[Preparation]],
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        self.bench, self.candidates = bench, list(candidates)
        self.usual, self.unusual = preparations
        self.progress = progress or (lambda what, done, total: None)
        self.fits: dict[Trial, Fit] = {}
        self.shift: tuple[float, float] | None = None

    def run(self) -> list[Fit]:
        """The fits of the first stage that has any; the closest first."""
        stages = (self.try_usual, self.try_cuts, self.try_shifts, self.try_jpeg, self.try_blurs)
        for done, stage in enumerate(stages):
            self.progress("trying", done, len(stages))
            if found := stage():
                self.progress("trying", len(stages), len(stages))
                exact = [fit for fit in found if not fit.difference.differing]
                return exact or sorted(found, key=lambda fit: fit.difference.differing)
        self.progress("trying", len(stages), len(stages))
        return []

    def rank(self) -> list[Fit]:
        """All fits, the nearest first."""
        return sorted(
            self.fits.values(), key=lambda f: (f.difference.share, f.difference.squares / f.difference.values)
        )

    def find_nearest(self) -> Fit:
        """The fit with the smallest mean square, of usual trials that sample HR where MATLAB's imresize does."""
        usual = [fit for fit in self.fits.values() if fit.trial.preparation in self.usual and not fit.trial.jpeg]
        centred = [fit for fit in usual if fit.trial.candidate.local and not fit.trial.candidate.skips]
        return min(centred, key=lambda f: f.mean_square)

    def try_all(self, trials: Iterable[Trial]) -> list[Fit]:
        """Make trials in the corner, the likely ones for all pictures; those that fit."""
        found = []
        for trial in trials:
            if trial not in self.fits:
                self.fits[trial] = Fit(trial, self.bench.compare(trial, 0, corner=True), 0)
            if self.fits[trial].pictures == 0 and self.fits[trial].difference.share <= LIKELY:
                self.fits[trial] = Fit(trial, self.bench.compare_all(trial), len(self.bench.pictures))
            if self.fits[trial].good:
                found.append(self.fits[trial])
        return found

    def try_usual(self) -> list[Fit]:
        """Every candidate on HR as it is usually prepared."""
        return self.try_all(Trial(c, p) for c in self.candidates for p in self.usual)

    def try_blurs(self) -> list[Fit]:
        """Gaussians of other sizes: the three that come nearest when computed quickly, then exactly."""
        if self.bench.scale != int(self.bench.scale) or self.usual[0].crop != "none":
            return []
        errors = {}
        for preparation in self.usual:
            errors.update({(p, *key): error for p, key, error in self._blur_quickly(preparation)})
        nearest = sorted(sorted(errors, key=lambda key: errors[key])[:3], key=lambda key: key[1])  # small ones first
        blurs = list_blurs()
        trials = []
        for preparation, kernel, sigma, first in nearest:
            name = f"blur, kernel {kernel}, sigma {sigma:g}" + (", first of each block" if first else "")
            trials += [Trial(c, preparation) for c in blurs if c.method == name]
        return self.try_all(trials)

    def _blur_quickly(self, preparation: Preparation) -> list[tuple[Preparation, tuple[int, float, bool], float]]:
        """The mean square for each Gaussian and each place of the sample, in a corner, one axis after the other."""
        step, n = int(self.bench.scale), 64
        lr = self.bench.pictures[0].lr[:n, :n].astype(np.float64)
        hr = self.bench.prepare(0, preparation)[: step * n, : step * n].astype(np.float64)
        found = []
        for kernel, sigma in product(BLUR_KERNELS, BLUR_SIGMAS):
            window = np.exp(-((np.arange(kernel) - kernel // 2) ** 2) / (2 * sigma**2))
            window /= window.sum()
            blurred = correlate1d(correlate1d(hr, window, axis=0, mode="nearest"), window, axis=1, mode="nearest")
            for first in (False, True):
                start = 0 if first else step // 2
                made = blurred[start::step, start::step]
                error = np.square(made - lr)[2:-10, 2:-10]
                found.append((preparation, (kernel, sigma, first), float(error.mean()) if error.size else math.inf))
        return found

    def try_cuts(self) -> list[Fit]:
        """The usual candidates on HR that was not cut, or cut elsewhere."""
        return self.try_all(Trial(c, p) for p in self.unusual for c in self.candidates if c.usual)

    def try_shifts(self) -> list[Fit]:
        """HR moved by whole pixels, where the nearest trial says that LR lies beside what is expected."""
        nearest = self.find_nearest()
        made, lr, part = self.bench.make(nearest.trial, 0, corner=False)
        shift = estimate_shift(made[part], lr[part])
        if not LEAST_SHIFT <= max(map(abs, shift)) <= MOST_SHIFT or nearest.mean_square < 0.5:
            return []
        self.shift = shift
        steps = [sorted({math.floor(d * self.bench.scale), math.ceil(d * self.bench.scale)}) for d in shift]
        moves = [(y, x) for y in steps[0] for x in steps[1] if (y, x) != (0, 0)]
        usual = [c for c in self.candidates if c.usual]
        return self.try_all(Trial(c, replace(p, shift=m)) for m in moves for p in self.usual for c in usual)

    def try_jpeg(self) -> list[Fit]:
        """A JPEG after each trial: with the file's own tables, or those qualities that LR has most likely seen."""
        if any(p.lr.dtype != np.uint8 for p in self.bench.pictures) or self.find_nearest().mean_square > MOST_JPEG:
            return []
        trials = [fit.trial for fit in sorted(self.fits.values(), key=lambda fit: fit.mean_square)]
        return self.try_all(replace(trial, jpeg=jpeg) for jpeg in self._choose_jpegs() for trial in trials)

    def _choose_jpegs(self) -> list[Jpeg]:
        """The file's own compression; else the two that change LR the least, beside qualities a little above and below.

        A JPEG that is compressed once more in the same way hardly changes.
        """
        picture = max(self.bench.pictures, key=lambda p: p.lr.ndim)  # in colour, where one is
        if picture.jpeg:
            return [picture.jpeg]
        lr = picture.lr[: CORNER + MARGIN, : CORNER + MARGIN]
        grey = convert_channel(lr, "grey")
        errors = []
        for quality in QUALITIES:  # of the grey alone, which is not subsampled
            again = convert_channel(compress(lr, Jpeg(0, quality)), "grey")
            errors.append(measure(again, grey).squares)
        around = [np.median(errors[max(0, k - 4) : k + 5]) for k in range(len(errors))]
        dips = [error / max(float(level), 1.0) for error, level in zip(errors, around, strict=True)]
        nearest = sorted(range(len(dips)), key=lambda k: dips[k])[:2]
        return [Jpeg(kind, QUALITIES[k]) for k in nearest for kind in ((2, 0, 1) if lr.ndim == 3 else (0,))]


def agree(one: Trial, other: Trial, bench: Bench) -> bool:
    """Whether two trials make the same of noise: then no picture of this kind can tell them apart.

    The noise is small. It is in colour where a picture is, and has the remainder of that one's sides, which decides
    what is cut.
    """
    first, scale = max(bench.pictures, key=lambda p: p.hr.ndim), bench.scale
    size = (24, 20)
    if scale == int(scale):
        spare = [max(0, h - int(scale) * n) for h, n in zip(first.hr_size, first.size, strict=True)]
        sides = [int(scale) * n + s % int(scale) for n, s in zip(size, spare, strict=True)]
    else:
        sides = [math.floor(scale * n) for n in size]
    peak = 256 if first.hr.dtype == np.uint8 else 65536
    noise = np.random.default_rng(0).integers(0, peak, (*sides, *first.hr.shape[2:])).astype(first.hr.dtype)  # safe
    lr = np.zeros((*size, *first.lr.shape[2:]), first.lr.dtype)
    small = Bench([replace(first, lr=lr, hr=noise, jpeg=None, offset=(0, 0))], scale)
    made = [small.make(replace(trial, jpeg=None), 0, corner=False)[0] for trial in (one, other)]
    return made[0].shape == made[1].shape and bool((made[0] == made[1]).all())

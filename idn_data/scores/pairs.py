"""Which SR picture belongs to which GT picture: pairs by name, found before anything is computed.

Four rules are tried in this order, and the first that gives every picture exactly one partner is used:

1. equal names, without the suffix;
2. names without what the common layouts add at the end: the scale (``x4``, ``_x4``, ``-x4``), and the words GT, HR,
   LR, LRBI, LRBD, LRBN, LRDN, SR, out and rlt after ``_`` or ``-``, one after another;
3. the same, and without the method's name, which is that of the folder;
4. the same, and without a last word that all names of the folder share, such as ``RCAN`` in ``baby_RCAN_x4.png``.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.images.decode import list_images
from idn_data.images.pairs import LAYOUT_WORDS, group_by_name, strip_name
from idn_data.images.sets import TEST_SETS
from idn_data.namesakes import name_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WORDS = (*LAYOUT_WORDS, "out", "rlt")
_SETS = (*TEST_SETS, "Manga109", "BSD100", "BSDS100", "DIV2K")  # of other names, and those that idn does not fetch
_SPLIT = re.compile(r"[_-]")
RULES = (
    "equal names",
    "names without the scale, GT, HR, LR, SR and the like",
    "names without that and the method's name",
    "names without that and the last word that all share",
)


class PairError(ValueError):
    """Pictures that cannot be paired.

    lines : one for each of them.
    remedies : how the message goes on for a command that has an option, by the option's name in Python.
    """

    def __init__(self, message: str, lines: Sequence[str] = (), remedies: Mapping[str, str] | None = None) -> None:
        self.lines, self.remedies = tuple(lines), dict(remedies or {})
        super().__init__(message)


@dataclass(frozen=True)
class Pair:
    """An SR picture and its GT; `name` is GT's without what layouts add, the same for every method."""

    name: str
    sr: Path
    gt: Path


@dataclass(frozen=True)
class Pairing:
    """The pairs of one method, by which of `RULES` they were found, and the pictures left without a partner."""

    method: str
    rule: str
    pairs: tuple[Pair, ...]
    alone: tuple[Path, ...] = ()

    def row(self) -> dict[str, object]:
        """The pairing as an item of a JSON list."""
        pairs = [{"name": p.name, "sr": str(p.sr), "gt": str(p.gt)} for p in self.pairs]
        return {"method": self.method, "rule": self.rule, "pairs": pairs, "alone": [str(p) for p in self.alone]}


def group_pictures(paths: Sequence[Path | str], methods: Sequence[str] = ()) -> dict[str, list[Path]]:
    """Pictures by method: each folder is a method, and so are the single files that share a folder.

    A method has the name that `methods` gives it. Without, it is named after its folder; where that is a scale, a known
    set or such (``RCAN/Set5/x4``, BasicSR's ``RCAN/visualization/Set5``, EDSR's ``RCAN/results-Set5``), after the
    folder above.

    Raises
    ------
    FileNotFoundError
        No such folder or file, or no image in a folder.
    PairError
        Two folders have one name.
    ValueError
        Another number of `methods` than of folders, or two alike.
    """
    groups: dict[Path, list[Path]] = {}
    for path in map(Path, paths):
        if path.is_dir():
            groups.setdefault(name_whole(path), []).extend(list_images(path))  # a link has a name too
        elif path.is_file():
            groups.setdefault(name_whole(path).parent, []).append(path)
        else:
            raise FileNotFoundError(f"no such picture or folder: {path}; name the folder of the SR pictures")
    names = [next((p.name for p in (f, *f.parents) if not _says_nothing(p.name)), f.name) for f in groups]
    if methods and (len(methods) != len(names) or len(set(methods)) != len(methods)):
        raise ValueError(
            f"{len(methods)} names for {len(names)} methods ({', '.join(names)}); give one --method for each"
        )
    if twice := [name for name in names if names.count(name) > 1 and not methods]:
        remedies = {"methods": ", or name the methods with --method"}
        raise PairError(f"two folders are called {twice[0]!r}; rename one", remedies=remedies)
    sorted_files = (sorted(dict.fromkeys(files), key=lambda p: p.name) for files in groups.values())
    return dict(zip(methods or names, sorted_files, strict=True))


def _says_nothing(name: str) -> bool:
    """Whether a folder's name is a scale, a known set or a word of the layouts, and so no method's."""
    if re.fullmatch(r"[xX]\d+(\.\d+)?", name) or name.removeprefix("results-") in _SETS:
        return True
    return name in (*_WORDS, "BI", "BD", "visualization", "")


def pair_pictures(
    method: str, sr: Sequence[Path], gt: Sequence[Path], scale: float, *, partial: bool = False
) -> Pairing:
    """Find for each SR picture its GT by the first of `RULES` that fits them all.

    Parameters
    ----------
    method : str
        The method's name, which may stand in the names of its pictures.
    sr, gt : sequence of path
        The pictures; a single SR and a single GT are a pair whatever their names.
    scale : float
        As the names may say it: 4 for ``x4``.
    partial : bool
        Leave out pictures without a partner, of either kind, as long as some pairs are left.

    Returns
    -------
    Pairing
        Pairs in the order of the GT pictures.

    Raises
    ------
    PairError
        A picture has no partner or several, by the rule that pairs most of them.
    """
    if len(sr) == len(gt) == 1:
        return Pairing(method, "one picture each", (Pair(strip_name(gt[0].stem, _WORDS, scale), sr[0], gt[0]),))
    best: tuple[Pairing, list[str]] | None = None
    for rule, (words, ending) in zip(RULES, _list_words(method, sr, scale), strict=True):
        found, faults = _match(sr, gt, scale, words, ending)
        taken = {path for pair in found for path in (pair.sr, pair.gt)}
        pairing = Pairing(method, rule, tuple(found), tuple(p for p in (*sr, *gt) if p not in taken))
        if not faults and (not pairing.alone or (partial and found)):
            return pairing
        if best is None or len(found) > len(best[0].pairs):
            best = pairing, faults
    assert best is not None  # there are rules
    raise _explain(*best, sr, gt)


def _explain(pairing: Pairing, faults: Sequence[str], sr: Sequence[Path], gt: Sequence[Path]) -> PairError:
    """What keeps a method's pictures from being paired, by the rule that pairs most of them."""
    partners = {**dict.fromkeys(sr, "GT"), **dict.fromkeys(gt, "SR")}
    lines = faults or [f"{path}: no {partners[path]} of this name" for path in pairing.alone]
    some = f"{len(pairing.pairs)} of {max(len(sr), len(gt))} pictures pair by {pairing.rule}"
    remedies: dict[str, str] = {}
    if faults:
        advice = "rename them, or put them in folders of their own"
    elif pairing.pairs:
        advice, remedies = "rename them", {"partial": ", or leave them out with --partial"}
    else:
        advice, remedies = "name the folder of their GT, and their scale", {"gt": ", with --gt and --scale"}
    return PairError(f"{pairing.method}: {some}; {advice}", lines, remedies)


def _list_words(method: str, sr: Sequence[Path], scale: float) -> list[tuple[set[str] | None, str]]:
    """For each of `RULES`, what is taken off SR's names: words (None: nothing), and before them an ending.

    The ending is the method's whole name where all have it, as BasicSR's: so ``bird_2`` stays whole under ``EXP_2``.
    """
    words = {word.casefold() for word in _WORDS}
    named = words | {part.casefold() for part in (method, *_SPLIT.split(method))}
    last = {_SPLIT.split(strip_name(p.stem, words, scale))[-1].casefold() for p in sr}
    shared = len(last) == 1 and len(sr) > 1 and not re.fullmatch(r"x?[\d.]+", min(last))  # another scale is no word
    ending = next((sep + method for sep in "_-" if all(_ends_with(p.stem, sep + method) for p in sr)), "")
    third = (words, ending) if ending else (named, "")
    return [(None, ""), (words, ""), third, (named | (last if shared else set()), "")]


def _ends_with(stem: str, ending: str) -> bool:
    return len(stem) > len(ending) and stem.casefold().endswith(ending.casefold())


def _match(
    sr: Sequence[Path], gt: Sequence[Path], scale: float, words: set[str] | None, ending: str
) -> tuple[list[Pair], list[str]]:
    """The pairs of equal cleaned names, and a line for each name that several pictures of one kind have."""

    def name_gt(stem: str) -> str:  # the method's name is no part of it
        return stem if words is None else strip_name(stem, _WORDS, scale)

    def name_sr(stem: str) -> str:
        return stem if words is None else strip_name(stem[: len(stem) - len(ending)], words, scale)

    pairs, faults = [], []
    plain = Counter(strip_name(path.stem, _WORDS, scale) for path in gt)
    for name, (gts, srs) in group_by_name(gt, sr, name_gt, name_sr).items():
        if len(gts) == len(srs) == 1:
            short = strip_name(gts[0].stem, _WORDS, scale)
            pairs.append(Pair(short if plain[short] == 1 else gts[0].stem, srs[0], gts[0]))
        elif gts and srs:
            many, what = (srs, "SR") if len(srs) > 1 else (gts, "GT")
            faults.append(f"{name}: {len(many)} {what} pictures, {', '.join(p.name for p in many[:3])}")
    return pairs, faults

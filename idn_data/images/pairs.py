"""Names of pictures that belong together: without what the common layouts add at the end, they are equal.

That is the scale (``x4``, ``_x4``, ``-x4``) and words such as GT, HR, LR, SR after ``_`` or ``-``, one after another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

LAYOUT_WORDS = ("GT", "HR", "LR", "LRBI", "LRBD", "LRBN", "LRDN", "SR")


def strip_name(stem: str, words: Collection[str] = LAYOUT_WORDS, scale: float | None = None) -> str:
    """A name without the scale and the words at its end, in any case, as long as something is left.

    scale : the one that is taken off, 4 for ``x4``; without, any.
    """
    number = r"\d+(?:\.\d+)?" if scale is None else re.escape(f"{scale:g}")
    size = re.compile(rf"^(.*?)[_-]?[xX]{number}$")
    known = {word.casefold() for word in words}
    while True:
        if (found := size.match(stem)) and found[1]:
            stem = found[1]
            continue
        head, cut, tail = max(stem.rpartition("_"), stem.rpartition("-"), key=lambda part: len(part[0]))
        if not (cut and head and tail.casefold() in known):
            return stem
        stem = head


def group_by_name(
    first: Sequence[Path], second: Sequence[Path], name_first: Callable[[str], str], name_second: Callable[[str], str]
) -> dict[str, tuple[list[Path], list[Path]]]:
    """Two kinds of pictures by what is left of their names; the names of `first` come first, in its order.

    Parameters
    ----------
    first, second : sequence of path
    name_first, name_second : function
        What is left of a file's name without its suffix, for the pictures of each kind.

    Returns
    -------
    dict
        For each name the pictures of the first kind and those of the second that have it.
    """
    groups: dict[str, tuple[list[Path], list[Path]]] = {}
    for kind, (paths, clean) in enumerate(((first, name_first), (second, name_second))):
        for path in paths:
            stem = unicodedata.normalize("NFC", path.stem)  # macOS takes letters and their accents apart
            groups.setdefault(clean(stem), ([], []))[kind].append(path)
    return groups

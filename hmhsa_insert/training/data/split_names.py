"""Names of split folders as people write them: Train, val2017, test_set, seg_train, flowers-training."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

SplitKind = Literal["train", "val", "test"]

_KINDS: dict[str, SplitKind] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "eval", "evaluation", "evaluate", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), "test"),
}  # fmt: skip
_FILLERS = {
    *("set", "sets", "seg", "split", "data", "dataset", "folder", "dir", "files", "img", "imgs", "image", "images"),
    *("pic", "pics", "picture", "pictures", "photo", "photos", "sample", "samples"),
}  # fmt: skip
_SPLIT_WORDS = tuple(sorted(_KINDS, key=len, reverse=True))


class SplitName(NamedTuple):
    """What a folder's name says of a split.

    Attributes:
        kind: which one.
        affix: its other words; a name with some is a split's only beside another split's with the same.
    """

    kind: SplitKind
    affix: tuple[str, ...]


def split_name(name: str) -> SplitName | None:
    """Return what split a folder's name says it is; None if it says none, or two."""
    words = [word for word in _words(name) if word not in _FILLERS]
    kinds = [_KINDS[word] for word in words if word in _KINDS]
    if len(kinds) != 1:
        return None
    return SplitName(kinds[0], tuple(word for word in words if word not in _KINDS))


def is_filler(name: str) -> bool:
    """Return True for names such as ``images``, which say nothing of what is in a folder."""
    words = _words(name)
    return bool(words) and all(word in _FILLERS for word in words)


def split_kind(names: Iterable[str]) -> dict[str, SplitKind]:
    """Return which of a data set's own names of splits are of which kind (``train``, ``validation``, …)."""
    found = ((name, split_name(name)) for name in names)
    return {name: said.kind for name, said in found if said is not None and not said.affix}


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case: ``TrainSet2`` has train and set; numbers are no words."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [part for word in re.findall(r"[^\W\d_]+", parted.lower()) for part in _parted(word)]


def _parted(word: str) -> list[str]:
    """Return a word's two parts if it is made of a split's and a filler: ``testimages``, ``imagestest``."""
    for split in _SPLIT_WORDS:
        if word.startswith(split) and word[len(split) :] in _FILLERS:
            return [split, word[len(split) :]]
        if word.endswith(split) and word[: -len(split)] in _FILLERS:
            return [word[: -len(split)], split]
    return [word]

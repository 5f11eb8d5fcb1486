"""Classes of data matched by name with those that a network was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import zip_longest

import numpy as np

from hmhsa_insert.errors import Argument, Problem, mention, near
from hmhsa_insert.training.data.images import ChosenImages
from hmhsa_insert.training.data.sources import Data
from hmhsa_insert.training.data.streams import Stream
from hmhsa_insert.training.names import few, shown
from hmhsa_insert.training.problems import DataError

_MOST_LINES = 30


def matched(data: Data, known: Sequence[str], renamed: Mapping[str, str]) -> Data:
    """Return what is scored with the numbers of the classes that a network knows.

    Args:
        data: to score; it may lack classes.
        known: the network's classes, in the order of its scores.
        renamed: class of the data -> class of the network.

    Raises:
        DataError: the data has classes that the network does not know; or a renaming fits neither list.
    """
    pairs = [_pair(f"{old}={new}", data.classes, known) for old, new in renamed.items()]
    renamed = {_as_in(data.classes, old): _as_in(known, new) for old, new in pairs}
    _check(data.classes, known, renamed)
    wanted = [renamed.get(name, name) for name in data.classes]
    if wanted == list(known):
        return data
    if unknown := [own for own, name in zip(data.classes, wanted, strict=True) if name not in known]:
        raise DataError(_side_by_side(data, known, unknown))
    val = data.val
    if isinstance(val, Stream):
        message = (
            f"a stream knows its classes by numbers, 0 to {data.num_classes - 1}, and the network by names"
        )
        raise DataError(Problem(shown(data.source), message))
    numbers = np.array([list(known).index(name) for name in wanted], dtype=np.int64)
    val = ChosenImages(val, np.arange(len(val)), numbers[val.targets])
    absent = [name for name in known if name not in wanted]
    notes = (f"no pictures of {few(absent)}, which the network knows",) if absent else ()
    return replace(data, val=val, classes=tuple(known), notes=(*data.notes, *notes))


def read_renaming(texts: Sequence[str]) -> dict[str, str]:
    """Return the renaming that texts ``old=new`` say.

    Raises:
        DataError: a text is no such pair, or two rename one class.
    """
    renamed: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.rpartition("=")
        if not (old and equals and new) or old in renamed:
            message = (
                "renames a class that another one renames" if old in renamed else "is not a pair of classes"
            )
            tip = "write CLASS_OF_THE_DATA=CLASS_OF_THE_NETWORK"
            raise DataError(Problem(Argument(f"renamed {shown(text)}"), message, tip))
        renamed[old] = new
    return renamed


def _pair(text: str, here: Sequence[str], known: Sequence[str]) -> tuple[str, str]:
    """Return the two classes of ``old=new``, parted where both are known: a class may have a `=` in its name."""
    parts = text.split("=")
    cuts = [("=".join(parts[:cut]), "=".join(parts[cut:])) for cut in range(1, len(parts))]
    fitting = ((old, new) for old, new in cuts if _as_in(here, old) in here and _as_in(known, new) in known)
    return next(fitting, cuts[-1])


def _as_in(names: Sequence[str], given: str) -> str:
    """Return a name from the command line as the list has it: as it is on the disk, or as it is shown."""
    return given if given in names else shown(given)


def _check(here: Sequence[str], known: Sequence[str], renamed: Mapping[str, str]) -> None:
    problems = []
    for old, new in renamed.items():
        for name, there, whose in ((old, here, "data"), (new, known, "network")):
            if name not in there:
                tip = near(name, there) or f"there are: {few(there)}"
                message = f"the {whose} has no class '{name}'"
                problems.append(Problem(Argument(f"renamed {old}={new}"), message, tip))
    if problems:
        raise DataError(problems)


def _side_by_side(data: Data, known: Sequence[str], unknown: Sequence[str]) -> list[Problem]:
    """Return the two lists of names, a line each, and how they are matched."""
    where = shown(data.source)
    message = f"its classes are not those that the network was trained on: {few(unknown)} it does not know"
    like = (get_close_matches(unknown[0], known) or list(known))[0]
    tip = f"{mention('renamed', {unknown[0]: like})} says which is which, once for each class"
    width = max(4, *(len(name) for name in data.classes[:_MOST_LINES]))
    lines = [f"{'data':{width}}  network"]
    pairs = list(zip_longest(data.classes, known, fillvalue="–"))
    lines += [f"{here:{width}}  {there}" for here, there in pairs[:_MOST_LINES]]
    if len(pairs) > _MOST_LINES:
        lines.append(f"… and {len(pairs) - _MOST_LINES} more")
    return [Problem(where, message, tip), *(Problem("", line) for line in lines)]

"""Stand-ins for values that depend on the pixels, so that a forward that reads them runs on shapes alone.

``x.max().item()``, ``if mask.any()``, ``nonzero`` and ``.numpy()`` have no answer on fake tensors. They are
answered as for tensors filled with one number. If the answer decides the path of the forward (an early exit,
an assertion), several numbers are tried, and the path that runs most of the network is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hmhsa_insert.torch_private import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    tree_map,
    unset_fake_temporarily,
)

T = TypeVar("T")
_TO_NUMPY = {"numpy", "__array__", "tolist"}
_ONLY_VALUES_KNOW = (DataDependentOutputException, DynamicOutputShapeException)


# The number that fills the tensors of each read, in order; the last one is used for all further reads.
Answers = tuple[int, ...]
# A test on a value may need a small or a large one of either sign (``-p.log().item() < 0.3``). Zeros come
# first: of paths that are equally long, theirs is taken. The largest is small enough for a loop that counts
# up to it.
_NUMBERS = (0, 1, -1, 100, -100)
_MOST_WAYS = 24


@dataclass(frozen=True)
class Way(Generic[T]):
    """One path through a forward.

    Attributes:
        result: what the run returned.
        answers: the answers that lead to it.
        reads: number of values that were read.
    """

    result: T
    answers: Answers
    reads: int


def with_stand_ins(mode: FakeTensorMode, run: Callable[[], T], answers: Answers | None = None) -> T:
    """Return what `run` returns, with stand-ins for the values that fake tensors do not have.

    Args:
        mode: the fake mode that `run` runs under.
        run: may be called more than once.
        answers: those that :func:`longest_way` found, to take the same path; by default zeros, or ones if
            zeros raise.

    Raises:
        Exception: what `run` raises with zeros, if it raises with ones too.
    """
    return _first_way(mode, run, answers or (0,)).result


def longest_way(
    mode: FakeTensorMode, run: Callable[[], T], length: Callable[[T], int]
) -> tuple[Way[T], list[Way[T]]]:
    """Return the path of greatest `length` through `run`, and the others that were tried.

    First all reads get the same answer. If another answer makes a longer path, the reads of the longest path
    are then changed one by one, as long as this makes it longer.

    Raises:
        Exception: as :func:`with_stand_ins`.
    """
    best = _first_way(mode, run, (0,))
    if not best.reads:
        return best, []
    tried = {best.answers: best}
    front: list[Answers] = [(number,) for number in _NUMBERS]
    while front and len(tried) < _MOST_WAYS:
        answers = front.pop(0)
        way = None if answers in tried else _tried(mode, run, answers)
        if way is None:  # tried before, or the forward raises with these values
            continue
        tried[answers] = way
        if length(way.result) > length(best.result):
            best = way
            front += [_answered(best, read, number) for read in range(best.reads) for number in _NUMBERS]
    return best, [way for way in tried.values() if way is not best]


def _answered(way: Way[Any], read: int, number: int) -> Answers:
    """Return the answers of a path with another one for one read."""
    answers = [*way.answers, *[way.answers[-1]] * way.reads][: way.reads + 1]
    return (*answers[:read], number, *answers[read + 1 :])


def _first_way(mode: FakeTensorMode, run: Callable[[], T], answers: Answers) -> Way[T]:
    stand_ins = _StandIns(mode, answers)
    try:
        with stand_ins:
            return Way(run(), answers, stand_ins.reads)
    except Exception as error:
        if not stand_ins.reads or answers != (0,):
            raise
        way = _tried(mode, run, (1,))
        if way is None:
            raise error from None
        return way


def _tried(mode: FakeTensorMode, run: Callable[[], T], answers: Answers) -> Way[T] | None:
    stand_ins = _StandIns(mode, answers)
    try:
        with stand_ins:
            return Way(run(), answers, stand_ins.reads)
    except Exception:
        return None


class _StandIns(TorchFunctionMode):
    """Runs functions that need values on real tensors, filled with the next answer at each read."""

    def __init__(self, mode: FakeTensorMode, answers: Answers) -> None:
        super().__init__()
        self.reads = 0
        self._mode, self._answers = mode, answers

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") not in _TO_NUMPY:
            try:
                return func(*args, **kwargs)
            except _ONLY_VALUES_KNOW:
                pass
        self._number = self._answers[min(self.reads, len(self._answers) - 1)]
        self.reads += 1
        with unset_fake_temporarily():  # else the stand-ins would be fake again
            real = func(*tree_map(self._filled, args), **tree_map(self._filled, kwargs))
        return tree_map(self._hollow, real)

    def _filled(self, value: Any) -> Any:
        if not isinstance(value, FakeTensor):
            return value
        number = self._number
        # Unsigned integers have no negative numbers.
        if not value.dtype.is_floating_point and not value.dtype.is_complex and value.dtype is not torch.bool:
            number = max(number, torch.iinfo(value.dtype).min)
        return torch.full(value.shape, number, dtype=value.dtype)

    def _hollow(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        with self._mode:
            return torch.empty(value.shape, dtype=value.dtype)

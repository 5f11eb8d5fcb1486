"""Stand-ins for values that only the pixels have, so that a forward that looks at them runs on shapes alone.

``x.max().item()``, ``if mask.any()``, ``nonzero`` and ``.numpy()`` have no answer on fake tensors. They are answered as
for tensors full of zeros; where the forward does not go through with that (``assert torch.isfinite(x).all()``), as for
ones. Which way a network takes then is one of its ways, as on any one image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

T = TypeVar("T")
_TO_NUMPY = {"numpy", "__array__", "tolist"}
_ONLY_VALUES_KNOW = (DataDependentOutputException, DynamicOutputShapeException)


def with_stand_ins(mode: FakeTensorMode, run: Callable[[], T]) -> T:
    """Return what `run` returns, values that `mode` does not have stood in for.

    Raises:
        Exception: what `run` raises with zeros, if it raises with ones as well.
    """
    zeros = _StandIns(mode, 0)
    try:
        with zeros:
            return run()
    except Exception as error:
        if not zeros.used:
            raise
        try:
            with _StandIns(mode, 1):
                return run()
        except Exception:
            raise error from None


class _StandIns(TorchFunctionMode):
    """Runs what needs values on real tensors full of one number."""

    def __init__(self, mode: FakeTensorMode, number: int) -> None:
        super().__init__()
        self.used = False
        self._mode, self._number = mode, number

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") not in _TO_NUMPY:
            try:
                return func(*args, **kwargs)
            except _ONLY_VALUES_KNOW:
                pass
        self.used = True
        with unset_fake_temporarily():
            real = func(*tree_map(self._filled, args), **tree_map(self._filled, kwargs))
        return tree_map(self._hollow, real)

    def _filled(self, value: Any) -> Any:
        if not isinstance(value, FakeTensor):
            return value
        return torch.full(value.shape, self._number, dtype=value.dtype)

    def _hollow(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        with self._mode:
            return torch.empty(value.shape, dtype=value.dtype)

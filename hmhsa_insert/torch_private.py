"""All private parts of torch that this package uses, in one place; see its test.

Nearly everything here is measured on fake tensors (shapes without memory), which have no public name in
torch. If a release of torch moves one of these, the import of this file fails, and not a plan halfway
through.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

try:
    import torch.fx.experimental._config as _fx_config
    from torch._ops import HigherOrderOperator
    from torch._subclasses.fake_tensor import (
        DataDependentOutputException,
        DynamicOutputShapeException,
        FakeTensor,
        FakeTensorMode,
        unset_fake_temporarily,
    )
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import (
        TreeSpec,
        tree_flatten,
        tree_leaves,
        tree_map,
        tree_map_only,
        tree_unflatten,
    )
except ImportError as error:
    message = f"torch {torch.__version__} has moved what this release of hmhsa-insert needs: {error}"
    raise ImportError(message) from error

__all__ = [
    "DataDependentOutputException",
    "DynamicOutputShapeException",
    "FakeTensor",
    "FakeTensorMode",
    "HigherOrderOperator",
    "any_length",
    "assume",
    "pretend_compiling",
    "unlogged",
    "TorchDispatchMode",
    "TreeSpec",
    "tree_flatten",
    "tree_leaves",
    "tree_map",
    "tree_map_only",
    "tree_unflatten",
    "unset_fake_temporarily",
    "untraced",
]


@contextmanager
def untraced() -> Iterator[None]:
    """Keep what runs inside the ``with`` out of the current jit trace, if there is one."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]


@contextmanager
def pretend_compiling(on: bool) -> Iterator[None]:
    """Let torch report that it is compiling, inside the ``with``."""
    before, torch.compiler._is_compiling_flag = torch.compiler._is_compiling_flag, on
    try:
        yield
    finally:
        torch.compiler._is_compiling_flag = before


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep what torch logs of failures on fake tensors from the terminal: they become errors of their own."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def any_length() -> Iterator[None]:
    """Let the exporter take no axis for longer than 1 because the example's is, as ``torch.onnx.export`` does."""
    with _fx_config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        yield


def assume(fact: bool) -> None:
    """Tell the exporter a fact about a symbolic number; the program checks it when it runs."""
    torch._check(fact)

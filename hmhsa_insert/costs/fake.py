"""Copies of a model that can be run without its weights being computed with, or even allocated.

A cost depends on shapes only. The copy made here owns every module, hook and attribute of the original, while
each parameter and buffer is swapped for a stand-in of the same shape, so that counting a network never
touches it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from hmhsa_insert.errors import ModelError, Problem, first_line
from hmhsa_insert.surgery.base import fake as surgery_fake
from hmhsa_insert.surgery.base.fake import swapped_copy
from hmhsa_insert.surgery.base.given import image_tip
from hmhsa_insert.surgery.base.inputs import Inputs
from hmhsa_insert.torch_private import FakeTensor, FakeTensorMode


def fake_copy(model: nn.Module, *, dtype: torch.dtype | None = None) -> tuple[nn.Module, FakeTensorMode]:
    """Return a copy of `model` on fake tensors, and the mode to run it under: nothing is allocated.

    Args:
        model: any module; its own tensors may be real, on the meta device, or already fake.
        dtype: the floating dtype of the copy; by default each tensor keeps its own.

    Raises:
        ModelError: when the model cannot be deep-copied.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    return surgery_fake.fake_copy(model, mode, dtype=dtype), mode


def real_copy(model: nn.Module, *, dtype: torch.dtype | None = None) -> nn.Module:
    """Return a runnable copy that shares the memory of `model`'s parameters and owns its buffers.

    Parameters without data (meta or fake tensors) become zeros that take one element of memory each.

    Args:
        model: any module.
        dtype: the floating dtype of the copy; parameters that have to be cast share nothing.

    Raises:
        ModelError: when the model cannot be deep-copied.
    """

    def swap(tensor: Tensor) -> Tensor:
        data = tensor.detach()
        if tensor.is_meta or isinstance(tensor, FakeTensor):
            data = torch.zeros((), dtype=tensor.dtype, device=_device(tensor)).expand(tensor.shape)
        if dtype is not None and data.is_floating_point():
            data = data.to(dtype)
        if not isinstance(tensor, nn.Parameter):
            return data.clone()
        return nn.Parameter(data, tensor.requires_grad)

    return swapped_copy(model, swap)


def home(model: nn.Module) -> tuple[torch.dtype, torch.device]:
    """Return the dtype and device of the model's first floating-point parameter, where its inputs belong."""
    first = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return first.dtype, _device(first)


@contextlib.contextmanager
def without_fast_path() -> Iterator[None]:
    """Run `nn.MultiheadAttention` in its plain form: no counter has a formula for its fused fast path."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def cannot_run(model: nn.Module, inputs: Inputs, error: Exception) -> ModelError:
    """Return the error that says `model` does not run on `inputs`."""
    message = f"cannot run on an input of {inputs}: {first_line(error)}"
    return ModelError(Problem(type(model).__name__, message, image_tip(model, inputs)))


class ModuleStack:
    """Knows, while a model runs, the qualified name of the innermost module at work.

    Calls of modules are watched from outside, as torch.fx does, not by hooks: a block may look at its hooks and take
    another way. A module called several times, or owned by several parents, goes by its first name. What runs in a
    forward hook of a module, such as a spliced block, is inside that block.
    """

    def __init__(self, model: nn.Module) -> None:
        self.modules: dict[str, nn.Module] = dict(model.named_modules())
        self.calls: dict[str, int] = dict.fromkeys(self.modules, 0)
        # What a scripted module does is its owner's: its parts are not called from Python.
        self._names = {
            id(module): name
            for name, module in self.modules.items()
            if not isinstance(module, torch.jit.ScriptModule)
        }
        self._stack: list[str] = []
        self._call: Callable[..., Any] = nn.Module.__call__

    @property
    def innermost(self) -> str:
        """The qualified name of the module at work; ``""`` is the model itself."""
        return self._stack[-1] if self._stack else ""

    def __enter__(self) -> Self:
        original = self._call = nn.Module.__call__

        def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            name = self._names.get(id(module))
            if name is None:
                return original(module, *args, **kwargs)
            self.calls[name] += 1
            self._stack.append(name)
            try:
                return original(module, *args, **kwargs)
            finally:
                self._stack.pop()

        nn.Module.__call__ = watched  # type: ignore[method-assign]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        nn.Module.__call__ = self._call  # type: ignore[method-assign]


def _device(tensor: Tensor) -> torch.device:
    return torch.device("cpu") if tensor.is_meta and not isinstance(tensor, FakeTensor) else tensor.device

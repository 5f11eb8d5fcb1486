"""What an insertion adds to the module tree: a child that holds a block, and a hook of its host that runs it.

The hook keeps the child's name, not the child. So a replica or a deep copy runs its own child, and a module
that a user puts in its place (a compiled, quantized, checkpointed or adapted block) is run too.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, MutableMapping
from typing import Any

from torch import Tensor, nn

from hmhsa_insert.blocks import Residual
from hmhsa_insert.surgery.base.inputs import LeafPath
from hmhsa_insert.surgery.locate.maps import Layout


class RunsChild:
    """A forward hook or forward pre-hook that runs a child of its host on one of its outputs or inputs.

    Args:
        name: of the child.
        path: where the tensor is in the output; for an input, its position or name comes first.
    """

    def __init__(self, name: str, path: LeafPath = ()) -> None:
        self.name, self.path = name, path

    def hook(self, host: nn.Module, on_input: bool) -> None:
        """Register with `host`, before the user's hooks, which then see the map with the block."""
        if on_input:
            host.register_forward_pre_hook(self.on_input, with_kwargs=True)
        else:
            host.register_forward_hook(self.on_output)
        # torch appends hooks, so the user's are moved behind ours; those of earlier edits keep their order.
        for hooks in (host._forward_pre_hooks, host._forward_hooks):
            for number in [n for n, hook in hooks.items() if self.of_hook(hook) is None]:
                hooks.move_to_end(number)  # type: ignore[attr-defined]

    @staticmethod
    def of_hook(hook: Any) -> RunsChild | None:
        """Return the object whose method `hook` is, or None for any other hook."""
        owner = getattr(hook, "__self__", None)
        return owner if isinstance(owner, RunsChild) else None

    def on_output(self, host: nn.Module, _args: Any, output: Any) -> Any:
        """Return `output` with the child's result in every place where its tensor stands."""
        child = host._modules[self.name]
        assert child is not None
        if not self.path:
            return child(output)
        old = _at(output, self.path)
        return _substituted(output, old, child(old))

    def on_input(self, host: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Return the inputs with the child's result in every place where its tensor stands."""
        child = host._modules[self.name]
        assert child is not None
        inputs = kwargs if isinstance(self.path[0], str) else args
        old = _at(inputs, self.path)
        new = child(old)
        return _substituted(args, old, new), _substituted(kwargs, old, new)


class _Spliced(nn.Module):
    """Runs ``self.on_map`` on one map in the layout of its host."""

    layout: Layout

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output in the layout of `x`, N×C×H×W or N×H×W×C."""
        if self.layout == "NCHW":
            return self.on_map(x)
        return self.on_map(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def on_map(self, x: Tensor) -> Tensor:
        """Return the block's output for one N×C×H×W map."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the block's own text and the layout, for ``repr``."""
        own = super().extra_repr()
        return f"{own}, layout={self.layout}" if own else f"layout={self.layout}"


class InsertedResidual(_Spliced, Residual):
    """``x + gamma * f(x)``, or ``x + f(x)``, for a block f that keeps the shape."""

    def on_map(self, x: Tensor) -> Tensor:
        """Return the residual form, N×C×H×W."""
        return Residual.forward(self, x)


class InsertedBlock(_Spliced):
    """``f(x)`` for a block that changes the shape, such as a TDB, or that replaces a module."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def on_map(self, x: Tensor) -> Tensor:
        """Return ``f(x)``, N×C×H×W."""
        out: Tensor = self.block(x)
        return out


def _at(value: Any, path: LeafPath) -> Any:
    for step in path:
        held: Any = value
        value = held[step] if isinstance(held, Mapping | list | tuple) else getattr(held, str(step))  # type: ignore[index]
    return value


def _substituted(value: Any, old: Any, new: Any) -> Any:
    """Return `value` with `new` in place of `old`; containers that hold it are copied, not modified."""
    # By identity, not by path alone: one tensor may stand in several places, such as two keys of a dict.
    if value is old:
        return new
    if isinstance(value, Mapping):
        changed = {
            key: new_item
            for key, item in value.items()
            if (new_item := _substituted(item, old, new)) is not item
        }
        return _with_items(value, changed) if changed else value
    if isinstance(value, list | tuple):
        sequence = [_substituted(item, old, new) for item in value]
        if all(a is b for a, b in zip(sequence, value, strict=True)):
            return value
        if isinstance(value, list):
            return _with_items(value, dict(enumerate(sequence)))
        # A named tuple takes its items as separate arguments.
        made = type(value)(*sequence) if hasattr(value, "_fields") else type(value)(sequence)
        if hasattr(value, "__dict__"):
            vars(made).update(vars(value))
        return made
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _substituted(getattr(value, f.name), old, new) for f in dataclasses.fields(value)}
        twin = copy.copy(value)
        # A dataclass may be frozen.
        for name, item in fields.items():
            object.__setattr__(twin, name, item)
        return twin
    return value


def _with_items(value: Any, items: Mapping[Any, Any]) -> Any:
    """Return a copy of a mapping or list with other items, of the same class and with its attributes."""
    if isinstance(value, Mapping) and not isinstance(value, MutableMapping):
        return type(value)({**value, **items})  # type: ignore[call-arg]
    twin = copy.copy(value)
    for key, item in items.items():
        twin[key] = item
    return twin

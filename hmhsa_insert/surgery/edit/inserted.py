"""What a splice puts into the module tree: a child that carries a block, and the hook of its host that runs it.

The hook holds a name. It runs the child that its host has under that name now: in a replica or a deep copy that one's
own, and whatever a user put in the child's place (a compiled, quantized, checkpointed or adapted block).
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
    """A forward hook, or forward pre-hook, that runs a child of its host on one tensor that comes out, or goes in.

    Args:
        name: of the child.
        path: where the tensor is in the output, or in the inputs with its position or name first.
    """

    def __init__(self, name: str, path: LeafPath = ()) -> None:
        self.name, self.path = name, path

    def hook(self, host: nn.Module, on_input: bool) -> None:
        """Register with `host`, before the hooks of its user: they see the map with the block."""
        if on_input:
            host.register_forward_pre_hook(self.on_input, with_kwargs=True)
        else:
            host.register_forward_hook(self.on_output)
        for hooks in (host._forward_pre_hooks, host._forward_hooks):
            for number in [n for n, hook in hooks.items() if self.of_hook(hook) is None]:
                hooks.move_to_end(number)  # type: ignore[attr-defined]

    @staticmethod
    def of_hook(hook: Any) -> RunsChild | None:
        """Return the object whose method `hook` is, None for a hook that is not of this kind."""
        owner = getattr(hook, "__self__", None)
        return owner if isinstance(owner, RunsChild) else None

    def on_output(self, host: nn.Module, _args: Any, output: Any) -> Any:
        """Return `output` with the child run on its tensor, wherever in `output` that tensor stands."""
        child = host._modules[self.name]
        assert child is not None
        if not self.path:
            return child(output)
        old = _at(output, self.path)
        return _substituted(output, old, child(old))

    def on_input(self, host: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Return the inputs with the child run on theirs."""
        child = host._modules[self.name]
        assert child is not None
        inputs = kwargs if isinstance(self.path[0], str) else args
        old = _at(inputs, self.path)
        new = child(old)
        return _substituted(args, old, new), _substituted(kwargs, old, new)


class _Spliced(nn.Module):
    """Runs ``self.on_map`` on one map in its host's layout."""

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
        """Show the layout, with what the block itself shows."""
        own = super().extra_repr()
        return f"{own}, layout={self.layout}" if own else f"layout={self.layout}"


class InsertedResidual(_Spliced, Residual):
    """``x + gamma * f(x)``, or ``x + f(x)``, for a block f that keeps the shape."""

    def on_map(self, x: Tensor) -> Tensor:
        """Return the residual form, N×C×H×W."""
        return Residual.forward(self, x)


class InsertedBlock(_Spliced):
    """``f(x)`` for a block that changes the shape, such as a TDB before a stage, or stands in for a module."""

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
    """Return `value` with `new` wherever `old` stood; containers that held it are rebuilt and not written into."""
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
        # A named tuple takes its items one by one.
        made = type(value)(*sequence) if hasattr(value, "_fields") else type(value)(sequence)
        if hasattr(value, "__dict__"):
            vars(made).update(vars(value))
        return made
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _substituted(getattr(value, f.name), old, new) for f in dataclasses.fields(value)}
        twin = copy.copy(value)
        for name, item in fields.items():
            object.__setattr__(twin, name, item)
        return twin
    return value


def _with_items(value: Any, items: Mapping[Any, Any]) -> Any:
    """Return a copy of a mapping or list with other items: a copy, because its class may keep more than them."""
    if isinstance(value, Mapping) and not isinstance(value, MutableMapping):
        return type(value)({**value, **items})  # type: ignore[call-arg]
    twin = copy.copy(value)
    for key, item in items.items():
        twin[key] = item
    return twin

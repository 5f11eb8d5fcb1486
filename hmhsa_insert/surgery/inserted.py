"""What a splice puts into the module tree: a child that carries a block and acts through its host's hooks.

The hooks are bound methods of the child, so that ``copy.deepcopy`` of a host gives hooks bound to the copy's own
child. A hook that closed over the block would make every copy run the original's.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from hmhsa_insert.blocks import Residual
from hmhsa_insert.surgery.inputs import Path
from hmhsa_insert.surgery.maps import Layout


class _Spliced(nn.Module):
    """Runs ``self.on_map`` on one tensor of its host's output or input, in the host's layout."""

    layout: Layout
    path: Path

    def place(self, layout: Layout, path: Path) -> None:
        """Say in which layout the host's map is, and where in its output or input."""
        self.layout, self.path = layout, path

    def on_output(self, _host: nn.Module, _args: Any, output: Any) -> Any:
        """Forward hook: return `output` with the block run on the map at ``self.path``."""
        return _replaced(output, self.path, self)

    def on_input(self, _host: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Forward pre-hook: return the inputs with the block run on the one at ``self.path``."""
        if isinstance(self.path[0], str):
            return args, _replaced(kwargs, self.path, self)
        return _replaced(args, self.path, self), kwargs

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


def _replaced(value: Any, path: Path, change: Any) -> Any:
    """Return `value` with `change` applied at `path`, containers rebuilt and not written into."""
    if not path:
        return change(value)
    step, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        items = {key: _replaced(item, rest, change) if key == step else item for key, item in value.items()}
        return type(value)(items) if type(value) is not dict else items  # type: ignore[call-arg]
    if not isinstance(value, list | tuple):  # a dataclass
        twin = copy.copy(value)
        object.__setattr__(twin, str(step), _replaced(getattr(value, str(step)), rest, change))
        return twin
    items_list = [_replaced(item, rest, change) if i == step else item for i, item in enumerate(value)]
    if hasattr(value, "_fields"):  # a named tuple takes its items one by one
        return type(value)(*items_list)
    return type(value)(items_list)

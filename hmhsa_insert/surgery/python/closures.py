"""Functions that refer to a model, copied so that they refer to the model's copy.

``copy.deepcopy`` does not copy functions. A function that was set on a module (``block.forward =
wrapper(block.forward)``) or hooked to it, and that closes over the module, would make every copy of the model
run the original's weights.
"""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from hmhsa_insert.surgery.python.source import like

_ATOMS = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type,
    types.ModuleType,
    types.BuiltinFunctionType,
)
# What every module keeps; it holds no functions, and children are visited themselves.
_TREE = ("_modules", "_parameters", "_buffers")


class Rebinding:
    """Copies functions that refer to parts of a model: made before the model is copied, completed after.

    Args:
        model: the original.
    """

    def __init__(self, model: nn.Module) -> None:
        self._cells: dict[int, tuple[types.CellType, types.CellType]] = {}
        functions = [f for module in model.modules() for f in _functions_of(module)]
        self._own = _parts(model) if functions else {}
        self._held = {id(f): f for f in functions if self.holds(f)}

    def holds(self, value: Any) -> bool:
        """Return True if `value` refers to a part of the model: by closures, defaults, receivers, items."""
        return any(key in self._own for key in _reached(value))

    def start(self, memo: dict[int, Any]) -> None:
        """Add a copy of every such function, with empty closure, to the memo of a deep copy."""
        for key, function in self._held.items():
            closure = tuple(self._cell(cell) for cell in function.__closure__ or ())
            memo[key] = like(function, _function(function, closure))

    def finish(self, memo: dict[int, Any]) -> None:
        """Fill the copies with the copied objects from the memo."""
        for old, new in self._cells.values():
            new.cell_contents = self._copied(old.cell_contents, memo)
        for key, function in self._held.items():
            twin = memo[key]
            twin.__defaults__ = self._copied(function.__defaults__, memo)
            twin.__kwdefaults__ = self._copied(function.__kwdefaults__, memo)
            twin.__dict__.update(self._copied(vars(function), memo))

    def _copied(self, value: Any, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(value, memo) if self.holds(value) else value

    def _cell(self, cell: types.CellType) -> types.CellType:
        if _empty(cell):
            return cell
        # Functions that share a variable share its cell, and so must their copies.
        return self._cells.setdefault(id(cell), (cell, types.CellType()))[1]


def replaced(
    function: types.FunctionType, old: types.FunctionType, new: types.FunctionType
) -> types.FunctionType:
    """Return a copy of a decorated `function` that calls `new` instead of `old`, which is in its closure."""
    if function is old:
        return new
    cells = []
    for cell in function.__closure__ or ():
        held = None if _empty(cell) else cell.cell_contents
        if isinstance(held, types.FunctionType) and old in functions_in(held):
            cells.append(types.CellType(replaced(held, old, new)))
        else:
            cells.append(cell)
    twin = like(function, _function(function, tuple(cells)))
    if isinstance(getattr(twin, "__wrapped__", None), types.FunctionType):
        twin.__wrapped__ = replaced(twin.__wrapped__, old, new)  # type: ignore[attr-defined]
    return twin


def functions_in(function: Any) -> list[types.FunctionType]:
    """Return `function` and, if a decorator made it, the functions in its closure; outermost first."""
    found: list[types.FunctionType] = []
    front = [function]
    while front:
        value = front.pop(0)
        if isinstance(value, types.FunctionType) and value not in found:
            found.append(value)
            front += [cell.cell_contents for cell in value.__closure__ or () if not _empty(cell)]
    return found


def drop_users_hooks(twin: nn.Module, model: nn.Module) -> None:
    """Remove the user's hooks from `twin`, a deep copy of `model`: plain functions that were not copied.

    They observe the network and write elsewhere. Bound methods and objects are part of the network and stay.
    """
    for copied, module in zip(twin.modules(), model.modules(), strict=True):
        for name in ("_forward_hooks", "_forward_pre_hooks"):
            users = {id(hook) for hook in vars(module)[name].values() if isinstance(hook, types.FunctionType)}
            hooks = vars(copied)[name]
            for number in [number for number, hook in hooks.items() if id(hook) in users]:
                del hooks[number]


def _function(function: types.FunctionType, closure: tuple[types.CellType, ...]) -> types.FunctionType:
    return types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, closure
    )


def _empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def _functions_of(module: nn.Module) -> list[types.FunctionType]:
    """Return the functions that a module keeps: set on it, hooked to it, or nested in its attributes."""
    kept = [value for name, value in vars(module).items() if name not in _TREE]
    leads = (
        value for value in kept if not isinstance(value, (*_ATOMS, torch.Tensor)) and not _is_empty(value)
    )
    reached = (item for value in leads for item in _reached(value).values())
    return [item for item in reached if isinstance(item, types.FunctionType)]


def _is_empty(value: Any) -> bool:
    return isinstance(value, dict | list | tuple | set) and not value


def _parts(model: nn.Module) -> set[int]:
    """Return the ids of what a deep copy of `model` copies: modules, tensors, and containers in modules."""
    parts: set[int] = set()
    for module in model.modules():
        parts.add(id(module))
        reached = _reached(vars(module), functions=False)
        parts |= {key for key, item in reached.items() if not isinstance(item, (types.FunctionType, tuple))}
    return parts


def _reached(value: Any, functions: bool = True) -> dict[int, Any]:
    """Return by id everything that `value` refers to, itself included; modules are not searched."""
    seen: dict[int, Any] = {}
    front = [value]
    while front:
        item = front.pop()
        if id(item) not in seen and not isinstance(item, _ATOMS):
            seen[id(item)] = item
            front += _inside(item, functions)
    return seen


def _inside(value: Any, functions: bool) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if isinstance(value, functools.partial):
        return (value.func, *value.args, *value.keywords.values())
    if isinstance(value, types.MethodType):
        return (value.__func__, value.__self__)
    if isinstance(value, types.FunctionType):
        kept = (value.__defaults__, value.__kwdefaults__, vars(value))
        held = (cell.cell_contents for cell in value.__closure__ or () if not _empty(cell))
        return (*kept, *held) if functions else ()
    if isinstance(value, nn.Module | torch.Tensor):
        return ()
    return (getattr(value, "__dict__", None),)

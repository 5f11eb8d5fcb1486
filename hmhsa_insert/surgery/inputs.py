"""What goes into a network and comes out of it: sizes without the batch axis, and tensors inside of containers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Size: TypeAlias = tuple[int, ...]
InputSize: TypeAlias = Size | Sequence[Size] | Mapping[str, Size]
Path: TypeAlias = tuple[int | str, ...]


def make_inputs(
    input_size: InputSize, batch: int, make: Callable[[Size], Tensor]
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Build positional and keyword inputs of `input_size` with `make`, which gets sizes with the batch axis."""
    if isinstance(input_size, Mapping):
        return [], {name: make((batch, *size)) for name, size in input_size.items()}
    return [make((batch, *size)) for size in sizes_of(input_size)], {}


def sizes_of(input_size: InputSize) -> list[Size]:
    """Return the sizes in `input_size` as a list, whatever its form."""
    if isinstance(input_size, Mapping):
        return [tuple(size) for size in input_size.values()]
    if all(isinstance(item, int) for item in input_size):
        return [tuple(input_size)]  # type: ignore[arg-type]
    return [tuple(size) for size in input_size]  # type: ignore[arg-type]


def size_text(input_size: InputSize) -> str:
    """Return ``3×224×224``, joined by commas when there are several inputs."""
    return ", ".join("×".join(map(str, size)) for size in sizes_of(input_size))


def input_dtype(model: nn.Module) -> torch.dtype:
    """Return the dtype of the first floating-point parameter, float32 without one."""
    floating = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next(floating, torch.float32)


def tensors_in(value: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Yield ``(path, tensor)`` for every tensor in nested tuples, lists, mappings and dataclasses."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors_in(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors_in(item, (*path, index))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for item_field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, item_field.name), (*path, item_field.name))

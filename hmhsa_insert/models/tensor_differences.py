"""What differs between two files of weights, read tensor by tensor so that no file has to fit into memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from hmhsa_insert.errors import Problem, WeightsError
from hmhsa_insert.models.weights import read_shapes, utf8_path
from hmhsa_insert.tables import Cell, Table, left, right

_MOST_ROWS = 20
Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorDifferences:
    """What differs.

    Attributes:
        only_one, only_other: keys that one file alone has.
        shapes: key -> its two shapes, where they differ.
        equal: how many tensors are equal bit by bit; None where no values were compared.
        changed: key -> the largest absolute difference of its values, where the bits differ, the largest first and
            whole numbers, which count something, last; None where a value is not a number, or the types differ.
    """

    only_one: tuple[str, ...]
    only_other: tuple[str, ...]
    shapes: Mapping[str, tuple[Shape, Shape]]
    equal: int | None = None
    changed: Mapping[str, float | None] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    def tables(self) -> list[Table]:
        """Return how many tensors are the same, and each kind of difference there is."""
        changed = self.changed or {}
        counts = [len(self.only_one), len(self.only_other), len(self.shapes), self.equal, len(changed)]
        if self.equal is None:
            counts = counts[:3]
        heads = ("Only in the first", "Only in the second", "Other shape", "Equal", "Other values")[
            : len(counts)
        ]
        found = [Table.of("tensors", map(right, heads), [counts])]
        keys: list[list[Cell]] = [[key, "the first"] for key in self.only_one]
        keys += [[key, "the second"] for key in self.only_other]
        shaped: list[list[Cell]] = [
            [key, *("×".join(map(str, each)) for each in pair)] for key, pair in self.shapes.items()
        ]
        values: list[list[Cell]] = [
            [key, "" if most is None else f"{most:.3g}"] for key, most in changed.items()
        ]
        without = "without a number: the types differ, or a value is not a finite number"
        for title, names, rows, notes in (
            ("keys of one alone", ("Key", "In"), keys, []),
            ("other shapes", ("Key", "First", "Second"), shaped, []),
            (
                "other values, the largest difference first",
                ("Key", "max |Δ|"),
                values,
                [without] if None in changed.values() else [],
            ),
        ):
            more = [f"and {len(rows) - _MOST_ROWS} more"] if len(rows) > _MOST_ROWS else []
            found += [Table.of(title, map(left, names), rows[:_MOST_ROWS], more + notes)] if rows else []
        return found


def shape_differences(one: Mapping[str, Shape], other: Mapping[str, Shape]) -> TensorDifferences:
    """Return what differs between keys and shapes, single numbers last; the values are not compared."""
    return TensorDifferences(
        tuple(sorted((key for key in one if key not in other), key=lambda key: one[key] == ())),
        tuple(sorted((key for key in other if key not in one), key=lambda key: other[key] == ())),
        {key: (one[key], other[key]) for key in one if key in other and one[key] != other[key]},
    )


def tensor_differences(one: Path, other: Path) -> TensorDifferences:
    """Return what differs between two safetensors files.

    Raises:
        WeightsError: one of them is damaged.
    """
    found = shape_differences(read_shapes(one), read_shapes(other))
    equal, changed = 0, []
    try:
        with ExitStack() as stack:
            files = [
                stack.enter_context(safe_open(stack.enter_context(utf8_path(path)), "pt"))
                for path in (one, other)
            ]
            there = set(files[1].keys())
            for key in files[0].keys():  # noqa: SIM118
                if key in there and key not in found.shapes:
                    a, b = (file.get_tensor(key) for file in files)
                    if _is_same(a, b):
                        equal += 1
                    else:
                        is_number = a.is_floating_point() or a.is_complex()
                        changed.append((not is_number, _largest(a, b), key))
    except (SafetensorError, OSError) as error:
        raise WeightsError(Problem(f"{one}, {other}", f"cannot be compared: {error}")) from error
    changed.sort(key=lambda row: (row[0], -(float("inf") if row[1] is None else row[1])))
    values = {key: most for _, most, key in changed}
    return TensorDifferences(found.only_one, found.only_other, found.shapes, equal, values)


def _is_same(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.dtype != b.dtype:
        return False
    return torch.equal(*(each.contiguous().reshape(-1).view(torch.uint8) for each in (a, b)))


def _largest(a: torch.Tensor, b: torch.Tensor) -> float | None:
    if a.dtype != b.dtype:
        return None
    wide = torch.complex128 if a.is_complex() else torch.float64
    most = float((a.to(wide) - b.to(wide)).abs().max())
    return most if most < float("inf") else None

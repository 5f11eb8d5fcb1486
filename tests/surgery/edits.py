"""What the tests of surgery say often: a size, an image, an edit, a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch

SIZE = (3, 64, 64)


def insert(at: dict[str, Any], block: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Return one insert edit; the block is small and has parameters in every part."""
    return {
        "op": "insert",
        "id": options.pop("id", "added"),
        "at": at,
        "block": block or {"type": "hmhsa", "head_dim": 4, "grids": "auto"},
        **options,
    }


def recipe(*edits: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "name": "test", "edits": list(edits)}


def image(*size: int, batch: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, *(size or SIZE), generator=generator)


def sampled(values: Iterable[str], *quick: str) -> list[Any]:
    """Return parameters of a test of which only the quick ones run with every `make test`."""
    return [value if value in quick else pytest.param(value, marks=pytest.mark.long) for value in values]

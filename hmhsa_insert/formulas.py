"""Formulas that torch's flop counter lacks; like its own they count two per multiply–accumulate, from shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch

aten = torch.ops.aten


def _matrix_vector(matrix: Sequence[int], vector: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * prod(matrix)


def _added_matrix_vector(bias: Sequence[int], matrix: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * prod(matrix)


def _fused_attention(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any
) -> int:
    *batch, queries, width = query
    return 2 * prod(batch) * queries * key[-2] * (width + value[-1])


EXTRA_FORMULAS: dict[Any, Callable[..., int]] = {
    aten.mv: _matrix_vector,
    aten.dot: _matrix_vector,
    aten.vdot: _matrix_vector,
    aten.addmv: _added_matrix_vector,
    aten._scaled_dot_product_flash_attention_for_cpu: _fused_attention,
}

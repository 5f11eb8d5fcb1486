"""Formulas that torch's flop counter lacks; like its own they count two per multiply–accumulate, from shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
import torchvision  # noqa: F401 - its operations are there once it is imported

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


def _cpu_rnn(
    inputs: Sequence[int], of_inputs: Sequence[int], of_state: Sequence[int], *_: Any, **__: Any
) -> int:
    """One direction of one layer, whose weights for all gates are used at every step."""
    return 2 * prod(inputs[:-1]) * (prod(of_inputs) + prod(of_state))


def _cuda_rnn(inputs: Sequence[int], weights: Sequence[Sequence[int]], *_: Any, **__: Any) -> int:
    return 2 * prod(inputs[:-1]) * sum(prod(weight) for weight in weights if len(weight) > 1)


def _deformable(
    inputs: Sequence[int], weight: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any
) -> int:
    return 2 * out_shape[0] * prod(out_shape[2:]) * prod(weight)


EXTRA_FORMULAS: dict[Any, Callable[..., int]] = {
    aten.mv: _matrix_vector,
    aten.dot: _matrix_vector,
    aten.vdot: _matrix_vector,
    aten.addmv: _added_matrix_vector,
    aten._scaled_dot_product_flash_attention_for_cpu: _fused_attention,
    aten.mkldnn_rnn_layer: _cpu_rnn,
    aten._cudnn_rnn: _cuda_rnn,
    torch.ops.torchvision.deform_conv2d: _deformable,
}

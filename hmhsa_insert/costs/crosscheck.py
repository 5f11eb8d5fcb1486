"""A second opinion on the multiply–accumulates: fvcore, which traces and counts in its own way.

fvcore adds norms, pooling and resampling, which the number of record leaves out; they are removed here. It
has no formula for fused attention, misreads products whose second factor has more batch dimensions, and
simulates an `einsum` with full-size arrays; handlers for these are supplied. What difference is left is a
finding.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hmhsa_insert.costs.count import Counts, count
from hmhsa_insert.costs.fake import home, real_copy, without_fast_path
from hmhsa_insert.errors import first_line
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize
from hmhsa_insert.torch_private import TreeSpec, tree_flatten, tree_leaves, tree_unflatten, untraced

TOLERANCE = 0.01
# fvcore has to compute what it traces. Above this, both counters run on a smaller image instead.
MOST_MACS = 20e9

Handle = Callable[[list[Any], list[Any]], int]


@dataclass(frozen=True)
class CrossCheck:
    """What fvcore says of the same model.

    Attributes:
        input_size: C, H, W of the image both counted at.
        macs: the number of record there, one image.
        macs_fvcore: fvcore's, norms, pools and resampling removed; None where it could not trace the model.
        difference: ``macs_fvcore / macs - 1``; None without a count.
        finding: a sentence to print when they differ by more than 1 %, or fvcore failed; otherwise empty.
    """

    input_size: tuple[int, int, int]
    macs: int
    macs_fvcore: int | None
    difference: float | None
    finding: str


def crosscheck(model: nn.Module, counts: Counts) -> CrossCheck:
    """Count `model` with fvcore and compare with `counts`, at one image.

    The model is not touched; a copy that shares its parameters is traced on zeros, in eval mode. Images too
    large to be computed in passing are halved until the pass takes less than `MOST_MACS`, and counted again by
    both.

    Source: https://github.com/facebookresearch/fvcore, `fvcore.nn.FlopCountAnalysis`.
    """
    inputs, macs = counts.inputs, counts.macs // counts.batch
    while macs > MOST_MACS and min(inputs.image_size[1:]) >= 128:
        inputs = inputs.resized(lambda height, width: (height // 64 * 32, width // 64 * 32))
        try:
            macs = count(model, inputs).per_sample.macs
        except Exception as error:
            return _failed(inputs, macs, error)
    try:
        theirs = fvcore_macs(model, inputs)
    except _FvcoreError as error:
        return CrossCheck(
            inputs.image_size, macs, None, None, f"not cross-checked: fvcore cannot be imported: {error}"
        )
    except Exception as error:
        return _failed(inputs, macs, error)
    difference = theirs / macs - 1 if macs else float(bool(theirs))
    finding = ""
    if abs(difference) > TOLERANCE:
        finding = (
            f"fvcore counts {theirs:,} multiply–accumulates where torch counts {macs:,} ({difference:+.1%})"
        )
    return CrossCheck(inputs.image_size, macs, theirs, difference, finding)


def fvcore_macs(model: nn.Module, input_size: InputSize) -> int:
    """Return fvcore's multiply–accumulates for one sample, norms, pools and resampling removed."""
    copied, inputs = real_copy(model).eval(), Inputs.of(input_size)
    leaves, form = tree_flatten(inputs.empty(*home(copied), 1))
    tensors = tuple(leaf.zero_() for leaf in leaves if isinstance(leaf, Tensor))
    # The trace draws nothing, but a stochastic layer of the model may.
    quiet = warnings.catch_warnings()
    with torch.random.fork_rng(), torch.no_grad(), without_fast_path(), quiet, _PlainSizes():
        warnings.simplefilter("ignore")
        analysis = _analysis()(_TensorsOnly(copied, leaves, form), tensors)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        analysis.set_op_handle(**_HANDLES)
        return int(analysis.total()) // (inputs.batch or 1)


class _FvcoreError(Exception):
    """fvcore is not installed, or does not work with what is."""


def _analysis() -> Any:
    """Import fvcore where it is used: the import itself warns, and takes as long as the count."""
    try:
        from fvcore.nn import FlopCountAnalysis
    except Exception as error:  # its last release is of 2022, and what it imports goes on
        raise _FvcoreError(first_line(error)) from error
    return FlopCountAnalysis


class _PlainSizes(TorchFunctionMode):
    """Keeps sizes plain integers in a jit trace, which else makes tensors of them and breaks `divmod`."""

    _SIZES = (Tensor.shape.__get__, Tensor.size, Tensor.numel, Tensor.__len__)  # type: ignore[attr-defined]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in self._SIZES:
            return func(*args, **(kwargs or {}))
        with untraced():
            return func(*args, **(kwargs or {}))


class _TensorsOnly(nn.Module):
    """Takes tensors and hands jit's tracer a tuple of tensors, whatever the model takes and returns."""

    def __init__(self, model: nn.Module, leaves: list[Any], form: TreeSpec) -> None:
        super().__init__()
        self.model = model
        self._constants = [None if isinstance(leaf, Tensor) else (leaf,) for leaf in leaves]
        self._form = form

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        leaves = [constant[0] if constant else next(given) for constant in self._constants]
        args, kwargs = tree_unflatten(leaves, self._form)
        return tuple(leaf for leaf in tree_leaves(self.model(*args, **kwargs)) if isinstance(leaf, Tensor))


def _failed(inputs: Inputs, macs: int, error: Exception) -> CrossCheck:
    reason = first_line(error)
    return CrossCheck(
        inputs.image_size, macs, None, None, f"not cross-checked: fvcore cannot trace the model: {reason}"
    )


def _sizes(value: Any) -> list[int]:
    sizes: list[int] = value.type().sizes()
    return sizes


def _nothing(inputs: list[Any], outputs: list[Any]) -> int:
    return 0


def _matmul(inputs: list[Any], outputs: list[Any]) -> int:
    return prod(_sizes(outputs[0])) * _sizes(inputs[0])[-1]


def _added_product(inputs: list[Any], outputs: list[Any]) -> int:
    return prod(_sizes(outputs[0])) * _sizes(inputs[1])[-1]


def _attention(inputs: list[Any], outputs: list[Any]) -> int:
    query, key, value = (_sizes(tensor) for tensor in inputs[:3])
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _convolution_by_name(inputs: list[Any], outputs: list[Any]) -> int:
    return prod(_sizes(outputs[0])) * prod(_sizes(inputs[1])[1:])


def _einsum(inputs: list[Any], outputs: list[Any]) -> int:
    factors = [_sizes(value) for value in inputs[1].node().inputs()]
    terms = inputs[0].toIValue().replace(" ", "").split("->")[0].split(",")
    if len(terms) != 2 or any("." in term for term in terms):
        raise NotImplementedError(f"einsum {inputs[0].toIValue()!r}")
    sizes = {
        letter: size
        for term, shape in zip(terms, factors, strict=True)
        for letter, size in zip(term, shape, strict=True)
    }
    return prod(sizes.values())


# A handle of None would be ignored for an operation that already has one: nothing has to be counted,
# explicitly.
_REMOVED = (
    "aten::batch_norm",
    "aten::group_norm",
    "aten::layer_norm",
    "aten::instance_norm",
    "aten::adaptive_avg_pool2d",
    "aten::upsample_nearest2d",
    "aten::upsample_bilinear2d",
    "aten::grid_sampler",
)
_HANDLES: dict[str, Handle] = {
    **dict.fromkeys(_REMOVED, _nothing),
    "aten::matmul": _matmul,
    "aten::mm": _matmul,
    "aten::mv": _matmul,
    "aten::dot": _matmul,
    "aten::addmv": _added_product,
    "aten::baddbmm": _added_product,
    "aten::scaled_dot_product_attention": _attention,
    "aten::_convolution_mode": _convolution_by_name,
    "aten::einsum": _einsum,
}

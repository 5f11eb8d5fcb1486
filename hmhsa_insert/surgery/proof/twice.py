"""The two networks of a verification: traced at the same size, compared, and restored afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from hmhsa_insert.errors import ModelError
from hmhsa_insert.surgery.base.inputs import Inputs
from hmhsa_insert.surgery.edit.splice import inserted_modules, ledgers
from hmhsa_insert.surgery.locate.maps import other_size
from hmhsa_insert.surgery.locate.trace import Trace, trace


class Traces:
    """Both networks traced at another input size than the plan's; at the plan's if the base takes no other.

    Attributes:
        at: the inputs of both traces.
        base: trace of the base network; None if it cannot be traced.
        edited: trace of the edited network, or the reason why there is none.
        sites: the edits between the two.
        is_graph: True if the edited network is a GraphModule, without the modules between its root and its
            edits.
    """

    base: Trace | None
    edited: Trace | ModelError

    def __init__(self, base: nn.Module, edited: nn.Module, size: Inputs) -> None:
        done = ledgers(edited)[len(ledgers(base)) :]
        self.sites = [site for ledger in done for site in ledger.plan.sites]
        self.is_graph = any(ledger.backend == "graph" for ledger in done)
        self.at, self.base, self.edited = size, None, ModelError([])
        for at in (other_size(size), size):
            try:
                self.base = trace(base, at)
            except ModelError as error:
                self.edited = error
                continue
            self.at = at
            try:
                self.edited = trace(edited, at, answers=self.base.answers)
            except ModelError as error:
                self.edited = error
            return


@contextmanager
def kept_buffers(*models: nn.Module) -> Iterator[list[str]]:
    """Restore buffers that change inside the ``with``, and add their names to the list that is yielded."""
    before = [(name, buffer, buffer.clone()) for model in models for name, buffer in model.named_buffers()]
    changed: list[str] = []
    yield changed
    with torch.no_grad():
        for name, buffer, value in before:
            if not _same(buffer, value):
                changed.append(name)
                buffer.copy_(value)


def _same(left: Tensor, right: Tensor) -> bool:
    # nan_to_num: NaN in the same place is no change.
    return left.is_meta or torch.equal(left.nan_to_num(), right.nan_to_num())


def max_change(wanted: list[Tensor], got: list[Tensor]) -> float:
    """Return max |Δ| over all outputs; infinity if the shapes differ."""
    if [t.shape for t in wanted] != [t.shape for t in got]:
        return float("inf")
    return max((difference(a, b) for a, b in zip(wanted, got, strict=True)), default=0.0)


def difference(a: Tensor, b: Tensor) -> float:
    """Return max |a − b|; NaN in both is no difference, NaN in one is infinite."""
    if a.numel() == 0:
        return 0.0
    # inf − inf is NaN, so infinities are compared by value first and then left out.
    infinite = a.isinf() | b.isinf()
    if (a.isnan() != b.isnan()).any() or (a != b)[infinite].any():
        return float("inf")
    return float((a.double() - b.double()).abs().nan_to_num(0.0, posinf=0.0).max())


def randomize_norms(*models: nn.Module) -> None:
    """Give the BatchNorms of all models the same random affine values and running statistics.

    Other vectors and scalars that are zero, such as the scale of a norm that ends a residual branch, become 0.1: a
    block before them acts as soon as they have learned.
    """
    for model in models:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(1)
            # Norms of inserted blocks draw nothing, or the draws of the other model would shift.
            new = {id(m) for _, inserted in inserted_modules(model) for m in inserted.modules()}
            for module in model.modules():
                if isinstance(module, _NormBase) and id(module) not in new:
                    _randomize(module)
                for parameter in module.parameters(recurse=False) if id(module) not in new else ():
                    if parameter.ndim <= 1 and parameter.is_floating_point() and not parameter.any():
                        parameter.fill_(0.1)


def _randomize(norm: _NormBase) -> None:
    draws: tuple[tuple[Tensor | None, Callable[[tuple[int, ...]], Tensor]], ...] = (
        (norm.weight, lambda shape: torch.rand(shape) + 0.5),
        (norm.bias, lambda shape: torch.randn(shape) * 0.1),
        (norm.running_mean, lambda shape: torch.randn(shape) * 0.1),
        (norm.running_var, lambda shape: torch.rand(shape) + 0.5),
    )
    for tensor, draw in draws:
        if tensor is not None:
            tensor.copy_(draw(tuple(tensor.shape)))

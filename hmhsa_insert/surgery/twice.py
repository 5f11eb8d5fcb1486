"""The two networks of a verification side by side: recorded at one size, and kept as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hmhsa_insert.errors import ModelError
from hmhsa_insert.surgery.inputs import InputSize
from hmhsa_insert.surgery.maps import other_size
from hmhsa_insert.surgery.splice import ledgers
from hmhsa_insert.surgery.trace import Trace, trace


class Traces:
    """Both networks recorded at another size than the plan's; at the plan's where the base takes no other.

    Attributes:
        at: the size.
        base: of the base network; None if it cannot be traced at all.
        edited: of the edited one, or why there is none.
        sites: what lies between the two.
        is_graph: whether the edited one is a GraphModule, which has lost the modules between its root and its edits.
    """

    base: Trace | None
    edited: Trace | ModelError

    def __init__(self, base: nn.Module, edited: nn.Module, size: InputSize) -> None:
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
    """Put buffers back that change in the block, and fill the list that is yielded with their names."""
    before = [(name, buffer, buffer.clone()) for model in models for name, buffer in model.named_buffers()]
    changed: list[str] = []
    yield changed
    with torch.no_grad():
        for name, buffer, value in before:
            if not _same(buffer, value):
                changed.append(name)
                buffer.copy_(value)


def _same(left: Tensor, right: Tensor) -> bool:
    return left.is_meta or torch.equal(left.nan_to_num(), right.nan_to_num())

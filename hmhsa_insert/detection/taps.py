"""Taps: read a feature map where it is made, without changing the network around it.

A tap is put where an edit would be: a child of the module whose output the map is, or of the one in whose forward the
expression stands that makes it. It has no parameters and passes the map on as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hmhsa_insert.errors import PlanError, Problem
from hmhsa_insert.surgery.edit.inserted import InsertedBlock, RunsChild
from hmhsa_insert.surgery.edit.wrapping import wrap
from hmhsa_insert.surgery.locate.stages import CutPoint, Located
from hmhsa_insert.surgery.proof.probe import Expressions
from hmhsa_insert.surgery.sites.expression import Expression


class Tap(nn.Module):
    """Passes an N×C×H×W map on and keeps it until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.held: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return `x`."""
        self.held = x
        return x

    def take(self) -> Tensor:
        """Return the map of the last forward, and let it go: a graph that is kept is memory that is kept."""
        held, self.held = self.held, None
        assert held is not None, "the network did not run"
        return held

    def __getstate__(self) -> dict[str, Any]:
        # A copy or a pickle goes without the map: one left by a forward that failed cannot be copied.
        return {**self.__dict__, "held": None}


def add_taps(model: nn.Module, located: Located, points: Sequence[CutPoint]) -> list[Tap]:
    """Put a tap at each cut point of `model`, in place, behind whatever was inserted there.

    Args:
        model: the network.
        located: where its maps are; of this network or of one it is a copy of.
        points: the maps.

    Raises:
        PlanError: a map is computed inside a forward that cannot be edited.
    """
    # All of them before the first tap is put: expressions are found by running the network that was traced.
    spots = _spots(model, located, points)
    return [_add_tap(model, point, spot) for point, spot in zip(points, spots, strict=True)]


def _spots(
    model: nn.Module, located: Located, points: Sequence[CutPoint]
) -> list[tuple[str, Expression] | None]:
    """Return module and expression of each map that is made inside a forward; None of a module's output."""
    nodes = {node.name: node for node in located.trace.nodes}
    within = [nodes[point.node] for point in points if point.host is None]
    expressions = Expressions(located.trace, model)
    spots: list[tuple[str, Expression] | None] = []
    for point in points:
        found = expressions.of(nodes[point.node], within) if point.host is None else []
        if point.host is None and not found:
            message = "the map is computed by code that cannot be edited, or that runs more than once in one forward"
            raise PlanError(Problem(point.qualname, message))
        spots.append(found[0] if found else None)
    return spots


def _add_tap(model: nn.Module, point: CutPoint, spot: tuple[str, Expression] | None) -> Tap:
    tap = Tap()
    child = InsertedBlock(tap)
    child.layout = point.layout
    child.train(model.training)
    name = f"tap_{point.stride}"
    if point.host is not None:
        host = model.get_submodule(point.host.qualname)
        host.add_module(name, child)
        host.register_forward_hook(RunsChild(name, point.host.path).on_output)
    elif spot is not None:
        qualname, expression = spot
        wrap(model.get_submodule(qualname), name, child, expression, qualname or type(model).__name__)
    return tap

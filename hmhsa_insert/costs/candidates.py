"""The candidates of a comparison: networks as they are, and with each of several recipes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import nn

from hmhsa_insert.recipe import Recipe
from hmhsa_insert.surgery.apply import apply_plan
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.surgery.base.load import LoadedModel
from hmhsa_insert.surgery.locate.stages import locate
from hmhsa_insert.surgery.plan import plan_located


def candidates(
    networks: Sequence[LoadedModel], recipes: Sequence[Recipe], input_size: InputSize
) -> dict[str, nn.Module]:
    """Return every network plain, followed by what each recipe makes of it, by the name tables call them.

    Args:
        networks: from ``open_model``; on the meta device they are enough for counting.
        recipes: planned again at `input_size`, so that grids chosen from the map's size fit it.
        input_size: C, H, W of one image, or more, see :meth:`Inputs.of`.

    Raises:
        PlanError: a recipe does not fit a network.
        ModelError: a network cannot be traced.
    """
    found: dict[str, nn.Module] = {}
    for network, label in zip(networks, _labels(networks), strict=True):
        found[_free(label, found)] = network.model
        if not recipes:
            continue
        located = locate(network.model, input_size)
        for recipe in recipes:
            made = plan_located(network.model, located, recipe, [])
            found[_free(f"{label} + {recipe.name}", found)] = apply_plan(network.model, made)
    return found


def _labels(networks: Sequence[LoadedModel]) -> list[str]:
    """Return bare names, and whole ones for networks that share a bare name."""
    shared = Counter(network.name for network in networks)
    return [network.name if shared[network.name] == 1 else network.source.spec for network in networks]


def _free(name: str, taken: dict[str, nn.Module]) -> str:
    """Return `name`, numbered where it is taken already: two recipes may share a name."""
    numbered = (f"{name} ({number})" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(each for each in numbered if each not in taken)

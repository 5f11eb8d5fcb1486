"""Apply: plan a recipe and carry it out on a copy of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from torch import nn

from hmhsa_insert.surgery.artifact.identify import identify
from hmhsa_insert.surgery.base.fake import deep_copy
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.surgery.edit.graph import as_graph_module
from hmhsa_insert.surgery.edit.splice import splice
from hmhsa_insert.surgery.plan import plan
from hmhsa_insert.surgery.sites.site import Plan

Backend = Literal["tree", "graph"]
M = TypeVar("M", bound=nn.Module)


def apply(
    model: M,
    recipe: str | Path | Mapping[str, Any],
    input_size: InputSize = (3, 224, 224),
    seed: int = 0,
    backend: Backend = "tree",
    *,
    inputs: InputSize = None,
) -> M:
    """Return a new model with `recipe` applied; `model` is untouched.

    Args:
        model: any network; an edited one too, if the recipe's ids are free in it.
        recipe: a path, the name of a shipped recipe, or a dict.
        input_size: ``(C, H, W)`` at which maps are measured; the result runs at other sizes as the base does.
            Several sizes, texts such as ``"timestep:int64"`` and Inputs say more, see :meth:`Inputs.of`.
        seed: of the new blocks' initial values; the global random state is left alone.
        backend: ``tree`` edits the module tree and keeps the class; ``graph`` returns a ``GraphModule`` of it.
        inputs: in the place of `input_size`: example tensors, by position in a tuple, by name in a dict.

    Raises:
        RecipeError, PlanError, ModelError: as :func:`~hmhsa_insert.surgery.plan.plan`.
    """
    return apply_plan(model, plan(model, recipe, input_size, inputs=inputs), seed, backend)


def apply_plan(model: M, made: Plan, seed: int = 0, backend: Backend = "tree") -> M:
    """Do as :func:`apply` with a plan that was made, or read from a lock file."""
    edited = deep_copy(model)
    splice(edited, made, seed)
    if backend == "tree":
        return edited
    return as_graph_module(edited, made, identify(edited))  # type: ignore[return-value]

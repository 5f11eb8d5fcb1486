"""Apply: plan a recipe, then carry the plan out on a copy of the model."""

from __future__ import annotations

from typing import Literal, TypeVar

from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.recipe import RecipeSource
from hmhsa_insert.surgery.artifact.identify import identify
from hmhsa_insert.surgery.base.fake import deep_copy
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.surgery.edit.graph import as_graph_module
from hmhsa_insert.surgery.edit.splice import splice
from hmhsa_insert.surgery.plan import plan
from hmhsa_insert.surgery.sites.site import Plan

Backend = Literal["tree", "graph"]
M = TypeVar("M", bound=nn.Module)


@reads_arguments
def apply(
    model: M,
    recipe: RecipeSource,
    input_size: InputSize = (3, 224, 224),
    seed: int = 0,
    backend: Backend = "tree",
    *,
    inputs: InputSize = None,
) -> M:
    """Apply a recipe to a copy of a model; the model itself is not changed.

    Args:
        model: the model to edit. It may hold earlier edits, if the new recipe uses other ids.
        recipe: the path of a recipe file, the name of a shipped recipe, or a recipe as a dict.
        input_size: of the image at which feature maps are measured: 96 for a square, ``(H, W)`` or ``(C, H, W)``.
            The edited model runs at every size that `model` runs at. For models with several inputs, see
            :meth:`Inputs.of`.
        seed: seeds the initial values of the new blocks; the global random state is not used.
        backend: ``"tree"`` edits the module tree and keeps the model's class; ``"graph"`` returns a
            ``torch.fx.GraphModule`` with the same outputs and keys.
        inputs: example tensors, used instead of `input_size`: one, a tuple by position, or a dict by name.

    Returns:
        The edited model, on the same device and in the same mode. A recipe that only inserts blocks keeps
        every key and every tensor of `model`; a block with ``init: identity`` changes no output until it is
        trained.

    Raises:
        RecipeError: the recipe cannot be read, or has invalid keys or values.
        PlanError: the recipe does not fit this model; the error lists every reason. With ``backend="graph"``
            also: ``torch.fx`` cannot trace the edited model.
        ModelError: the model cannot be traced, copied or edited, or the inputs are not described correctly.
        BlockError: a block is too large to build.

    Example:
        >>> import timm, torch
        >>> import hmhsa_insert as hi
        >>> model = timm.create_model("test_resnet", num_classes=10).eval()
        >>> edited = hi.apply(model, "stage3.yaml", input_size=(3, 64, 64))
        >>> sorted(edited.state_dict().keys() - model.state_dict().keys())[:2]
        ['layer3.0.hmhsa.block.norm.bias', 'layer3.0.hmhsa.block.norm.weight']
        >>> x = torch.randn(2, 3, 64, 64)
        >>> torch.equal(edited(x), model(x))
        True
    """
    return apply_plan(model, plan(model, recipe, input_size, inputs=inputs), seed, backend)


def apply_plan(model: M, made: Plan, seed: int = 0, backend: Backend = "tree") -> M:
    """Apply a plan that was made before, or read from a plan file; otherwise as :func:`apply`."""
    edited = deep_copy(model)
    splice(edited, made, seed)
    if backend == "tree":
        return edited
    return as_graph_module(edited, made, identify(edited))  # type: ignore[return-value]

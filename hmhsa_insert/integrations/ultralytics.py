"""ultralytics' own training of an edited model: its data, augmentation, EMA, AMP, checkpoints and validation.

ultralytics is licensed under the AGPL-3.0; it is an extra of this package, and imported here only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.recipe import RecipeSource, load_recipe
from hmhsa_insert.surgery.apply import apply
from hmhsa_insert.surgery.edit.splice import ledgers
from hmhsa_insert.surgery.edit.undo import base_state_dict

try:
    from ultralytics import YOLO
    from ultralytics.engine.trainer import BaseTrainer
except ImportError as error:
    tip = "pip install 'hmhsa-insert[ultralytics]'"
    raise ModelError(Problem("ultralytics", "needs the package ultralytics", tip)) from error


def trainer(
    recipe: RecipeSource, *, base: type[BaseTrainer] | None = None, seed: int = 0
) -> Callable[..., BaseTrainer]:
    """Return a trainer for ``YOLO(...).train(trainer=...)`` that applies a recipe once the weights are loaded.

    ultralytics builds a new model from its YAML when a training begins, and copies the weights that fit by their
    keys; a model that was edited before would lose its blocks there. This trainer lets it, and edits the result. A
    checkpoint that already holds the edit (a resumed run, or one that is trained further) keeps its blocks' weights.

    Args:
        recipe: the path of a recipe file, the name of a shipped recipe, or a recipe as a dict.
        base: the trainer to derive from; by default the one that YOLO has for the task. For RT-DETR give
            ``ultralytics.models.rtdetr.train.RTDETRTrainer``.
        seed: of the initial values of the new blocks.

    Returns:
        What ``train(trainer=...)`` calls.

    Raises:
        RecipeError: the recipe cannot be read. That it does not fit the model is a PlanError when training begins.
    """
    read = load_recipe(recipe).to_dict()

    def make(overrides: Mapping[str, Any] | None = None, **others: Any) -> BaseTrainer:
        task = (overrides or {}).get("task") or "detect"
        # The map is the same for all models, so that none has to be built for it.
        kind = base or YOLO.__new__(YOLO).task_map[task]["trainer"]
        return _edited(kind, read, seed)(overrides=overrides, **others)

    return make


def _edited(base: type[BaseTrainer], recipe: Mapping[str, Any], seed: int) -> type[BaseTrainer]:
    """Return a trainer class whose models are edited."""

    class EditingTrainer(base):  # type: ignore[misc]
        """The trainer of the task, with a recipe."""

        def get_model(
            self, cfg: Any = None, weights: nn.Module | None = None, verbose: bool = True
        ) -> nn.Module:
            """Build the model, load what weights there are, and edit it."""
            model: nn.Module = super().get_model(cfg=cfg, weights=weights, verbose=verbose)
            size = (int(self.data.get("channels", 3)), self.args.imgsz, self.args.imgsz)
            edited = apply(model, recipe, input_size=size, seed=seed)
            if weights is not None and ledgers(weights):
                _load_blocks(edited, weights)
            return edited

    return EditingTrainer


def _load_blocks(edited: nn.Module, trained: nn.Module) -> None:
    """Copy the tensors of the blocks from a checkpoint that holds the same edit.

    Raises:
        ModelError: it holds another one. Keys and shapes do not tell: they are the same at any size of the heads.
    """
    wanted, there = _blocks(edited), _blocks(trained)
    if wanted != there:
        where = min(key for key in {*wanted, *there} if wanted.get(key) != there.get(key))
        found = f"{there.get(where) or 'nothing'}, and the recipe puts {wanted.get(where) or 'nothing'} there"
        message = f"the checkpoint holds another edit: at '{where}' {found}"
        raise ModelError(Problem("weights", message, "train with the recipe that it was edited with"))
    base = base_state_dict(trained)
    new = {key: value.float() for key, value in trained.state_dict().items() if key not in base}
    edited.load_state_dict(new, strict=False)


def _blocks(model: nn.Module) -> dict[str, Any]:
    """Return the block of every site by its keys."""
    return {site.key: dict(site.block or {}) for each in ledgers(model) for site in each.plan.sites}

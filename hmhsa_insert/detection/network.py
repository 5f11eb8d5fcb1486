"""The detector to train: its backbone built, given its weights and edited, then torchvision's parts around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from hmhsa_insert.blocks.lean import set_lean
from hmhsa_insert.detection.coco_data import CocoData
from hmhsa_insert.detection.detector import detector
from hmhsa_insert.detection.schema import DetectSettings
from hmhsa_insert.errors import Problem
from hmhsa_insert.surgery.apply import apply
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.training.adapt import input_channels
from hmhsa_insert.training.network import Network, build_base
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.seeding import WEIGHTS, derived_seed, kept_random_state, seed_cpu

_BODY = "backbone.body"
CELL = 32  # images are padded to whole multiples of it


def build_detector(
    kind: str,
    model: str | nn.Module,
    data: CocoData,
    settings: DetectSettings,
    *,
    recipe: Mapping[str, Any] | None = None,
    seed: int = 0,
    init_from: Path | None = None,
    pretrained: bool = False,
    allow_code: bool = False,
) -> Network:
    """Build the detector of a run.

    Initial values depend on `seed`, the backbone's base network, the recipe and the detector alone; pyramid and heads
    begin alike with and without a recipe.

    Args:
        kind: of detector.
        model: the backbone: what ``load_model`` takes, the folder of an artifact, or a network, which is copied.
        data: tells the categories.
        settings: of the detector; drop path.
        recipe: to apply to the backbone.
        seed: of the run.
        init_from: a checkpoint of the backbone's base network, by its own keys.
        pretrained: begin with the library's weights.
        allow_code: run the factory that an artifact names.

    Raises:
        ModelError, WeightsError, ArtifactError, RecipeError, PlanError: as the functions it calls.
        SettingsError: the network takes no colour images, or its factory not what the settings ask.
    """
    chosen = settings.detector
    side = -(-chosen.min_size // CELL) * CELL
    with kept_random_state():
        seed_cpu(derived_seed(seed, WEIGHTS))
        # Its classes play no part: what runs behind the last stage is left out.
        asked = {"in_chans": data.channels}
        base, _, notes = build_base(model, asked, settings, init_from, pretrained, allow_code)
        channels = input_channels(base)
        if channels != data.channels:
            raise SettingsError(Problem(str(model), f"takes images of {channels} channels, COCO's have 3"))
        edited = base if recipe is None else apply(base, recipe, (channels, side, side), seed)
        seed_cpu(derived_seed(seed, WEIGHTS, 1))
        options = chosen.model_dump(exclude={"options"}) | chosen.options
        categories = dict(zip(data.category_ids, data.classes, strict=True))
        made = detector(kind, edited, categories=categories, input_size=(channels, side, side), **options)
    if settings.compute.memory == "lean":
        set_lean(made)
    # Not evaluated before it was trained, whatever the backbone knows: its heads know nothing.
    return Network(made, made, channels, frozenset(_fresh(made)), False, tuple(notes))


def _fresh(model: nn.Module) -> set[str]:
    """Return the names of all parameters but the backbone's base network's."""
    inserted = tuple(f"{_BODY}.{key}." for key, _ in inserted_modules(model.get_submodule(_BODY)))
    names = [name for name, _ in model.named_parameters()]
    return {name for name in names if not name.startswith(f"{_BODY}.") or name.startswith(inserted)}

"""The detector to train: its backbone built, given its weights and edited, then torchvision's parts around it."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from hmhsa_insert.detection.coco_data import CocoData
from hmhsa_insert.detection.detector import detector
from hmhsa_insert.detection.schema import DetectSettings
from hmhsa_insert.errors import Problem
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.training.adapt import input_channels
from hmhsa_insert.training.interfaces import DataSource
from hmhsa_insert.training.loop.seeding import WEIGHTS, derived_seed, kept_random_state, seed_cpu
from hmhsa_insert.training.network import build_base
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.run_schema import RunSettings

BODY = "backbone.body"


def image_size(data: CocoData, settings: DetectSettings) -> tuple[int, int, int]:
    """Return C, H, W of the square image at which the backbone's maps are measured."""
    return (data.channels, settings.image_side, settings.image_side)


def build_backbone(
    model: str | nn.Module,
    data: DataSource,
    settings: RunSettings,
    *,
    seed: int = 0,
    init_from: Path | None = None,
    pretrained: bool = False,
    allow_code: bool = False,
) -> tuple[nn.Module, list[str]]:
    """Build the network that becomes a backbone, without a recipe; return it, and notes.

    Args:
        model: what ``load_model`` takes, the folder of an artifact, or a network, which is copied.
        data: its images.
        settings: drop path.
        seed: of the run.
        init_from: a checkpoint of the network, by its own keys.
        pretrained: begin with the library's weights.
        allow_code: run the factory that an artifact names.

    Raises:
        ModelError, WeightsError, ArtifactError: as the functions it calls.
        SettingsError: the network takes no images of the data's channels, or its factory not what the settings ask.
    """
    with kept_random_state():
        seed_cpu(derived_seed(seed, WEIGHTS))
        # Its classes play no part: what runs behind the last stage is left out.
        asked = {"in_chans": data.channels}
        base, _, notes = build_base(model, asked, settings, init_from, pretrained, allow_code)
    channels = input_channels(base)
    if channels != data.channels:
        message = f"takes images of {channels} channels, the data's have {data.channels}"
        raise SettingsError(Problem(str(model), message))
    return base, notes


def build_around(
    kind: str, backbone: nn.Module, data: CocoData, settings: DetectSettings, seed: int
) -> nn.Module:
    """Build a detector around its backbone; pyramid and heads begin alike with and without a recipe.

    Args:
        kind: of detector.
        backbone: edited or not.
        data: its categories.
        settings: of the detector.
        seed: of the run.
    """
    chosen = settings.detector
    options = chosen.model_dump(exclude={"options"}) | chosen.options
    categories = dict(zip(data.category_ids, data.classes, strict=True))
    with kept_random_state():
        seed_cpu(derived_seed(seed, WEIGHTS, 1))
        return detector(
            kind, backbone, categories=categories, input_size=image_size(data, settings), **options
        )


def fresh_parameters(model: nn.Module, body: str = BODY) -> frozenset[str]:
    """Return the names of all parameters of a network around `body` but those of the base network there."""
    inserted = tuple(f"{body}.{key}." for key, _ in inserted_modules(model.get_submodule(body)))
    names = [name for name, _ in model.named_parameters()]
    return frozenset(n for n in names if not n.startswith(f"{body}.") or n.startswith(inserted))

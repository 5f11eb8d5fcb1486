"""The segmenter to train: a decoder around its backbone, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from hmhsa_insert.costs.parts import Parts, stage_parts
from hmhsa_insert.costs.profile import ProfileRecord, profile_all
from hmhsa_insert.segmentation.artifact import BODY
from hmhsa_insert.segmentation.decoders import DECODERS
from hmhsa_insert.segmentation.mask_data import MaskData
from hmhsa_insert.segmentation.schema import SemanticSettings
from hmhsa_insert.segmentation.segmenter import segmenter, segmenter_record
from hmhsa_insert.training.loop.seeding import WEIGHTS, derived_seed, kept_random_state, seed_cpu


def build_around(
    decoder: str, backbone: nn.Module, data: MaskData, settings: SemanticSettings, seed: int
) -> nn.Module:
    """Build a segmenter around its backbone; the decoder begins alike with and without a recipe.

    Args:
        decoder: its name.
        backbone: edited or not.
        data: its classes.
        settings: of the segmenter.
        seed: of the run.
    """
    chosen = settings.segmenter
    options = chosen.model_dump(exclude={"options"}) | chosen.options
    size = (data.channels, settings.input_size, settings.input_size)
    with kept_random_state():
        seed_cpu(derived_seed(seed, WEIGHTS, 1))
        return segmenter(decoder, backbone, classes=data.classes, input_size=size, **options)


def profile_segmenters(
    segmenters: Mapping[str, nn.Module], size: tuple[int, int]
) -> tuple[ProfileRecord, ...]:
    """Return the cost of segmenters at height × width, by backbone stage, inserted block and decoder.

    Args:
        segmenters: by the name tables call them; the first is the base the others are compared with.
        size: of one image.

    Raises:
        ModelError: one cannot run at this size.
    """
    record = segmenter_record(next(iter(segmenters.values())))
    image = (record.input_size[0] if record else 3, *size)
    return tuple(
        replace(each, parts=_parts(segmenters[each.name], image))
        for each in profile_all(dict(segmenters), image)
    )


def _parts(model: nn.Module, image: Any) -> Parts:
    """Return the modules of each part: the backbone's stages and inserted blocks, and the decoder."""
    body, record = model.get_submodule(BODY), segmenter_record(model)
    parts: Parts = {
        name if name in modules else f"backbone {name}": tuple(f"{BODY}.{module}" for module in modules)
        for name, modules in stage_parts(body, image).items()
    }
    title = DECODERS[record.decoder].title if record else "decoder"
    return (parts or {"backbone": (BODY,)}) | {title: ("decoder",)}

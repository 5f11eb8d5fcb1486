"""The network that is given to become a backbone: built by its name, its size, and how its images are normalized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.surgery.artifact.artifact import open_model
from hmhsa_insert.surgery.base.given import inputs_of
from hmhsa_insert.surgery.base.input import Size
from hmhsa_insert.surgery.base.inputs import InputSize

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def given_network(
    backbone: str | Path | nn.Module, input_size: InputSize, pretrained: bool
) -> tuple[nn.Module, Size]:
    """Return a network, and C, H, W of the images at which its maps are measured.

    Args:
        backbone: a network; a name that ``load_model`` takes; an artifact's folder.
        input_size: at which its maps are measured; None: what it was made for.
        pretrained: of a name: with the library's weights.

    Raises:
        ModelError, ArtifactError, WeightsError: it cannot be built; a network that is given, and `pretrained`.
    """
    if isinstance(backbone, nn.Module):
        if pretrained:
            message = "a network that is given has the weights it has"
            raise ModelError(Problem(type(backbone).__name__, message, "leave pretrained out"))
        return backbone, inputs_of(backbone, (3, 224, 224) if input_size is None else input_size).image_size
    loaded = open_model(str(backbone), pretrained=pretrained)
    given = loaded.input_size if input_size is None else input_size
    return loaded.model, inputs_of(loaded.model, given).image_size


def normalization(
    model: nn.Module, size: Size, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[list[float], list[float]]:
    """Return mean and deviation: those given, the network's own, or ImageNet's for three channels."""
    config = getattr(model, "pretrained_cfg", None) or {}
    own = (config.get("mean"), config.get("std")) if isinstance(config, Mapping) else (None, None)
    chosen = []
    for name, given, known, usual in zip(
        ("image_mean", "image_std"), (mean, std), own, _IMAGENET, strict=True
    ):
        values = given if given is not None else known if known and len(known) == size[0] else usual
        if len(values) != size[0]:
            message = f"the network takes {size[0]} channels, and this has {len(values)} values"
            raise ModelError(Problem(name, message, "give image_mean and image_std"))
        chosen.append([float(value) for value in values])
    return chosen[0], chosen[1]

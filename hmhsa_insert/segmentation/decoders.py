"""The table of decoders: what each is called, what builds it, and of which maps it makes its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from hmhsa_insert.errors import Argument, ModelError, Problem, near
from hmhsa_insert.segmentation.semantic_fpn import SemanticFPN
from hmhsa_insert.segmentation.smp_decoder import SmpDecoder


@dataclass(frozen=True)
class Maps:
    """What a decoder is built for.

    Attributes:
        channels: of the backbone's maps, by stride.
        image_channels: of the image.
        num_classes: of the scores.
    """

    channels: Mapping[int, int]
    image_channels: int
    num_classes: int


@dataclass(frozen=True)
class Decoder:
    """One decoder.

    Attributes:
        name, title: for commands, and as papers write it.
        build: makes it for maps, with so many channels and the options of :attr:`numbers`, or smp's own.
        numbers: options that it takes besides its channels; None: those of smp's class.
        half: whether it reads the map of stride 2 where the backbone has one.
    """

    name: str
    title: str
    build: Callable[..., nn.Module]
    numbers: tuple[str, ...] | None = None
    half: bool = False


def _semantic_fpn(maps: Maps, channels: int, dropout: float = 0.1) -> nn.Module:
    return SemanticFPN(list(maps.channels.values()), maps.num_classes, channels, dropout)


def _of_smp(
    name: str,
    sized: Callable[[int], dict[str, Any]],
    shape: Mapping[str, Any],
    maps: Maps,
    channels: int,
    **options: Any,
) -> nn.Module:
    return SmpDecoder(
        name,
        maps.channels,
        maps.num_classes,
        image_channels=maps.image_channels,
        options=sized(channels) | options,
        **shape,
    )


def _halved(channels: int) -> dict[str, Any]:
    return {"decoder_channels": tuple(channels >> level for level in range(5))}


def _smp(
    key: str, title: str, name: str, sized: Callable[[int], dict[str, Any]], half: bool = False, **shape: Any
) -> Decoder:
    return Decoder(key, title, partial(_of_smp, name, sized, shape), half=half)


DECODERS: Mapping[str, Decoder] = {
    decoder.name: decoder
    for decoder in (
        Decoder("semantic_fpn", "Semantic FPN", _semantic_fpn, ("dropout",)),
        _smp(
            "fpn",
            "FPN (smp)",
            "FPN",
            lambda width: {"decoder_pyramid_channels": width, "decoder_segmentation_channels": width // 2},
        ),
        _smp("unet", "U-Net", "Unet", _halved, half=True, stem=True),
        _smp("unetplusplus", "U-Net++", "UnetPlusPlus", _halved, half=True, stem=True),
        _smp(
            "deeplabv3plus",
            "DeepLabV3+",
            "DeepLabV3Plus",
            lambda width: {"decoder_channels": width},
            enlarged=16,
        ),
        _smp("upernet", "UPerNet", "UPerNet", lambda width: {"decoder_channels": width}),
        _smp("segformer", "SegFormer", "Segformer", lambda width: {"decoder_segmentation_channels": width}),
    )
}
DEFAULT = "semantic_fpn"


def decoder_of(name: str) -> Decoder:
    """Return a decoder by its name.

    Raises:
        ModelError: there is none.
    """
    if name not in DECODERS:
        tip = near(name, DECODERS) or f"choose {', '.join(DECODERS)}"
        raise ModelError(Problem(Argument("decoder"), f"there is no decoder '{name}'", tip))
    return DECODERS[name]

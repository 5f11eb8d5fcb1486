"""segmentation_models_pytorch's decoders on the maps of any backbone; its own encoders play no part."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate

from hmhsa_insert.errors import ModelError, Problem, near

_STRIDES = (2, 4, 8, 16, 32)
_STEM = 32  # channels of the map of stride 2 that is made where the backbone has none
_OF_ENCODERS = ("encoder_", "in_channels", "classes", "activation", "aux_params", "kwargs", "upsampling")


def smp() -> Any:
    """Return the package segmentation_models_pytorch.

    Raises:
        ModelError: it is not installed.
    """
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        message = "needs the package segmentation_models_pytorch"
        tip = "pip install 'hmhsa-insert[segmentation]'"
        raise ModelError(Problem("decoder", message, tip)) from error
    return segmentation_models_pytorch


class SmpDecoder(nn.Module):
    """A decoder and a segmentation head of smp.

    Args:
        name: of smp's class.
        maps: channels of the backbone's maps by stride; 4 to 32 are there.
        num_classes: of the scores.
        image_channels: of the image.
        stem: whether the decoder needs a map of stride 2: where the backbone has none, a convolution makes it of the
            image. Other decoders pass it over.
        enlarged: stride that the last map is brought to.
        options: of smp's class, by name.
    """

    def __init__(
        self,
        name: str,
        maps: Mapping[int, int],
        num_classes: int,
        *,
        image_channels: int,
        stem: bool = False,
        enlarged: int = 32,
        options: Mapping[str, Any],
    ) -> None:
        super().__init__()
        channels = {2: _STEM if stem else 0, **maps}
        self.stem: nn.Module | None = None
        if stem and 2 not in maps:
            convolution = nn.Conv2d(image_channels, _STEM, 3, stride=2, padding=1, bias=False)
            self.stem = nn.Sequential(convolution, nn.BatchNorm2d(_STEM), nn.ReLU(inplace=True))
        self.enlarged = enlarged
        made = _built(
            name, [image_channels, *(channels[stride] for stride in _STRIDES)], num_classes, options
        )
        self.decoder, self.head = made.decoder, made.segmentation_head

    def forward(self, image: Tensor, maps: Mapping[int, Tensor]) -> Tensor:
        """Return the scores N×K×H×W of an image N×C×H×W, whose sides 32 divides, and its maps by stride."""
        height, width = image.shape[-2:]
        features = [image, *(maps[stride] if stride in maps else self._half(image) for stride in _STRIDES)]
        if self.enlarged != _STRIDES[-1]:
            size = (height // self.enlarged, width // self.enlarged)
            features[-1] = interpolate(features[-1], size=size, mode="bilinear", align_corners=False)
        scores: Tensor = self.head(self.decoder(features))
        return scores

    def _half(self, image: Tensor) -> Tensor:
        """Return the map of stride 2 that the backbone has not: of no channels where none is needed."""
        if self.stem is not None:
            half: Tensor = self.stem(image)
            return half
        return image.new_empty(len(image), 0, image.shape[-2] // 2, image.shape[-1] // 2)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse options that smp's class does not have, or that are the encoder's.

    Raises:
        ModelError: all of them.
    """
    known = [
        each
        for each in inspect.signature(getattr(smp(), name).__init__).parameters
        if each != "self" and not each.startswith(_OF_ENCODERS)
    ]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ModelError(
            [
                Problem(
                    option,
                    f"smp's {name} has no such option",
                    near(option, known) or f"it has {', '.join(known)}",
                )
                for option in unknown
            ]
        )


def _built(name: str, channels: Sequence[int], num_classes: int, options: Mapping[str, Any]) -> Any:
    """Build a model of smp around an encoder that is nothing but its channels."""
    package = smp()
    check_options(name, options)
    encoders = package.encoders.encoders
    key = "hmhsa-insert's maps"
    encoders[key] = {"encoder": lambda **_: _Channels(channels), "params": {}, "pretrained_settings": {}}
    try:
        return getattr(package, name)(
            key, encoder_weights=None, in_channels=channels[0], classes=num_classes, **options
        )
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise ModelError(Problem(f"smp's {name}", f"cannot be built: {error}")) from error
    finally:
        del encoders[key]


class _Channels(nn.Module):
    """What smp asks an encoder for while it builds a decoder."""

    output_stride = 32

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = list(channels)

    def set_in_channels(self, *_: Any, **__: Any) -> None:
        """Do nothing: the channels are known."""

    def make_dilated(self, *_: Any) -> None:
        """Do nothing: the backbone is not changed, its last map is enlarged instead."""


def losses() -> Any:
    """Return smp's losses."""
    return smp().losses

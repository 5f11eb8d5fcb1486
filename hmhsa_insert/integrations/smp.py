"""Any located backbone, edited or not, as an encoder of segmentation_models_pytorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from hmhsa_insert.detection.backbone import tapped
from hmhsa_insert.detection.taps import Tap
from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.surgery.base.fake import deep_copy
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize
from hmhsa_insert.surgery.locate.stages import locate

try:
    from segmentation_models_pytorch.encoders import encoders
    from segmentation_models_pytorch.encoders._base import EncoderMixin
except ImportError as error:
    tip = "pip install 'hmhsa-insert[smp]'"
    raise ModelError(Problem("smp", "needs the package segmentation_models_pytorch", tip)) from error


class StageEncoder(nn.Module, EncoderMixin):  # type: ignore[misc]
    """A network up to its last stage that a decoder reads.

    Args:
        body: the network, with its taps.
        taps: of its stages, by rising stride from 2 on.
        channels: of the image and of every stage's map.
    """

    def __init__(self, body: nn.Module, taps: Sequence[Tap], channels: Sequence[int]) -> None:
        super().__init__()
        self.body = body
        self._taps = tuple(taps)
        self._depth, self._in_channels, self._output_stride = len(taps), channels[0], 2 ** len(taps)
        self._out_channels = list(channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the N×C×H×W images and the stages' maps, at strides 1, 2, 4, …"""
        self.body(x)
        return [x, *(tap.take() for tap in self._taps)]


def register_encoder(name: str, model: nn.Module, input_size: InputSize = (3, 224, 224)) -> str:
    """Make a network an encoder of smp: ``smp.Unet(name, encoder_weights=None)`` then has a copy of it.

    Args:
        name: what smp calls it.
        model: the network, edited or not, with its weights; it is not changed.
        input_size: ``(C, H, W)`` at which its stages are measured.

    Returns:
        The name.

    Raises:
        ModelError: it is no network, the name is taken, or the network has no stages at the strides 2, 4, 8, …

    Example:
        >>> import timm, hmhsa_insert as hi, segmentation_models_pytorch as smp
        >>> edited = hi.apply(timm.create_model("resnet18"), "stage3.yaml")
        >>> name = hi.integrations.smp.register_encoder("edited-resnet18", edited)
        >>> segmenter = smp.Unet(name, encoder_weights=None, classes=2)
    """
    if not isinstance(model, nn.Module):
        message = f"an encoder is made of a network, and this is of type {type(model).__name__}"  # type: ignore[unreachable]
        raise ModelError(Problem(name, message, "hi.load_model(NAME).model builds one"))
    if name in encoders and not isinstance(encoders[name]["encoder"], _Encoders):
        raise ModelError(Problem(name, "smp has an encoder of this name", "choose another one"))
    made = _Encoders(deep_copy(model), input_size)
    encoders[name] = {"encoder": made, "params": {}, "pretrained_settings": {}}
    return name


class _Encoders:
    """A network, of which smp asks for encoders of any depth.

    Args:
        model: the network.
        input_size: at which its stages are measured.
    """

    def __init__(self, model: nn.Module, input_size: InputSize) -> None:
        self._model, self._located = model, locate(model, input_size)
        self._channels = Inputs.of(input_size).image_size[0]
        self(depth=1)  # a network without stages is refused now

    def __call__(self, depth: int = 5, **_: Any) -> StageEncoder:
        """Return an encoder of so many stages."""
        strides = [2**level for level in range(1, depth + 1)]
        body, taps, stages, _ends = tapped(self._model, self._located, strides, "this encoder of smp")
        return StageEncoder(body, taps, [self._channels, *(stage.channels for stage in stages)])

"""``hi.segmenter``: a decoder on the stages of any located network, which gives every pixel a score of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.detection.backbone import tapped
from hmhsa_insert.detection.given import given_network, normalization
from hmhsa_insert.detection.taps import Tap
from hmhsa_insert.detection.trim import parameters_until
from hmhsa_insert.errors import Argument, ModelError, Problem, near
from hmhsa_insert.segmentation.decoders import Decoder, Maps, decoder_of
from hmhsa_insert.surgery.artifact.identify import identify
from hmhsa_insert.surgery.base.input import Size
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.surgery.base.load import ModelSource
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.surgery.locate.stages import Located, locate

RECORD = "_hmhsa_insert_segmenter"
CELL = 32  # images are padded to whole multiples of it
CHANNELS = 256
_NEEDED = (4, 8, 16, 32)


@dataclass(frozen=True)
class SegmenterRecord:
    """How a segmenter was built, weights apart: what builds it again around the same network.

    Attributes:
        decoder: its name in :data:`~hmhsa_insert.segmentation.decoders.DECODERS`.
        num_classes: of its scores.
        classes: their names, in the order of the scores; empty if not given.
        input_size: (C, H, W) at which the backbone's stages were measured.
        options: the other arguments of :func:`segmenter`.
        source: what builds the backbone's base network again; None if nothing known does.
    """

    decoder: str
    num_classes: int
    classes: tuple[str, ...]
    input_size: Size
    options: Mapping[str, Any] = field(default_factory=dict)
    source: ModelSource | None = None

    @property
    def seen(self) -> Seen:
        """At which size images are seen."""
        return Seen(**{name: self.options[name] for name in ("short_side", "long_side", "window")})


@dataclass(frozen=True)
class Seen:
    """At which size images are seen in evaluation.

    Attributes:
        short_side: that images are scaled to, in pixels; None: as they are.
        long_side: that no scaled image exceeds; None: no limit.
        window: side of the square windows that larger images are seen in; None: the whole image at once.
    """

    short_side: int | None = None
    long_side: int | None = None
    window: int | None = None

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that an image is scaled to."""
        scale = 1.0 if self.short_side is None else self.short_side / min(height, width)
        if self.long_side is not None:
            scale = min(scale, self.long_side / max(height, width))
        return max(1, round(scale * height)), max(1, round(scale * width))


class Segmenter(nn.Module):
    """A network and a decoder on its stages.

    Attributes:
        body: the network, without what runs behind its last tapped map.
        decoder: makes scores of its maps.
        strides: of the maps.
        mean, std: of the images' channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        taps: Sequence[Tap],
        strides: Sequence[int],
        decoder: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.body, self.decoder = body, decoder
        self.strides = tuple(strides)
        self._taps = tuple(taps)  # they are children of the body; a copy's are the copy's own
        for name, values in (("mean", mean), ("std", std)):
            # Written in the record, not among the weights; real numbers also where shapes are all that is built.
            made = torch.tensor(values, device="cpu").view(-1, 1, 1)
            self.register_buffer(name, made, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores N×K×H×W of images N×C×H×W in [0, 1], of any size."""
        height, width = images.shape[-2:]
        x = (images - self.mean) / self.std
        x = pad(x, (0, -width % CELL, 0, -height % CELL))
        self.body(x)
        maps = {stride: tap.take() for stride, tap in zip(self.strides, self._taps, strict=True)}
        scores: Tensor = self.decoder(x, maps)
        if scores.shape[-2:] != x.shape[-2:]:
            scores = interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return scores[..., :height, :width]


@reads_arguments
def segmenter(
    decoder: str,
    backbone: str | Path | nn.Module,
    num_classes: int | None = None,
    *,
    classes: Sequence[str] = (),
    input_size: InputSize = None,
    image_mean: Sequence[float] | None = None,
    image_std: Sequence[float] | None = None,
    channels: int = CHANNELS,
    short_side: int | None = None,
    long_side: int | None = None,
    window: int | None = None,
    pretrained: bool = False,
    **options: Any,
) -> nn.Module:
    """Return a segmenter: `backbone`, and a decoder that reads its stages of strides 4 to 32 (U-Nets 2 to 32).

    Call it with images N×C×H×W in [0, 1], of any size: it normalizes them and returns scores N×K×H×W of every pixel.

    Args:
        decoder: ``semantic_fpn`` (the authors'; needs no extra), or of segmentation_models_pytorch (the extra
            ``segmentation``) ``fpn``, ``unet``, ``unetplusplus``, ``deeplabv3plus``, ``upernet``, ``segformer``.
        backbone: a network, edited or not, which is copied; a name that ``load_model`` takes; an artifact's folder.
        num_classes: how many classes a pixel can have; default as many as `classes`.
        classes: their names, in the order of the scores.
        input_size: at which the stages are measured: 224 for a square, (H, W) or (C, H, W); default what the network
            was made for.
        image_mean: of the normalization; default what the network says (timm), else ImageNet's.
        image_std: likewise.
        channels: of the decoder: as wide as its first layers are; later ones follow in proportion.
        short_side: in evaluation and ``hmhsa-insert segment``, images are scaled to this shorter side, in pixels;
            default as they are.
        long_side: and to this longer side at most.
        window: there, larger images are seen in square windows of this side, in pixels; default whole.
        pretrained: for a name: with the library's weights.
        options: of smp's class, by name, such as ``decoder_attention_type="scse"``; of ``semantic_fpn`` ``dropout``.

    Returns:
        A module in the mode of the network. No map is enlarged in the backbone: DeepLabV3+ reads the last one enlarged
        to stride 16, where smp dilates the encoder's convolutions instead. A U-Net on a backbone without a stage of
        stride 2 has a 3×3 convolution that makes one.

    Raises:
        ModelError: no such decoder or option, no classes, a network that lacks a stride, or smp is not installed.
        PlanError, ArtifactError, WeightsError: as the functions it calls.

    Source:
        Semantic FPN: Panoptic Feature Pyramid Networks, Kirillov et al. 2019, section 3, as mmsegmentation has it.

    Example:
        >>> import torch
        >>> import hmhsa_insert as hi
        >>> model = hi.segmenter("semantic_fpn", "test_resnet", num_classes=3, channels=32).eval()
        >>> model(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 3, 97, 131])
    """
    chosen = decoder_of(decoder)
    _check(chosen, channels, options)
    count = _num_classes(num_classes, classes)
    model, size = given_network(backbone, input_size, pretrained)
    mean, std = normalization(model, size, image_mean, image_std)
    source = identify(model)
    located = locate(model, size)
    has_half = any(stage.stride == 2 for stage in located.stages)
    strides = [2, *_NEEDED] if chosen.half and has_half else list(_NEEDED)
    body, taps, stages, ends = tapped(model, located, strides, chosen.title)
    maps = Maps({stage.stride: stage.channels for stage in stages}, size[0], count)
    made = Segmenter(body, taps, strides, _built(chosen, maps, channels, options), mean, std)
    _match(made)
    _freeze(made, located, ends[-1])
    seen = {"short_side": short_side, "long_side": long_side, "window": window}
    given = {"image_mean": mean, "image_std": std, "channels": channels, **seen, **options}
    made.__dict__[RECORD] = SegmenterRecord(decoder, count, tuple(classes), size, given, source)
    return made.train(model.training)


def segmenter_record(model: nn.Module) -> SegmenterRecord | None:
    """Return how a segmenter was built; None for what :func:`segmenter` did not build."""
    record: SegmenterRecord | None = model.__dict__.get(RECORD)
    return record


def _check(decoder: Decoder, channels: int, options: Mapping[str, Any]) -> None:
    problems = []
    if not 16 <= channels <= 2048:
        problems.append(Problem(Argument("channels"), f"{channels} is not between 16 and 2048"))
    known = decoder.numbers
    for name in options if known is not None else ():
        if known is not None and name not in known:
            tip = near(name, known) or f"it has {', '.join(known)}"
            problems.append(Problem(name, f"{decoder.title} has no such option", tip))
    if problems:
        raise ModelError(problems)


def _num_classes(given: int | None, classes: Sequence[str]) -> int:
    count = len(classes) if given is None and classes else given
    if count is None or count < 1:
        message = "how many classes a pixel can have is not known"
        raise ModelError(Problem(Argument("num_classes"), message, "give `num_classes=…` or their names"))
    if classes and count != len(classes):
        message = f"{len(classes)} classes are named, and {count} asked for"
        raise ModelError(Problem(Argument("num_classes"), message))
    return count


def _built(decoder: Decoder, maps: Maps, channels: int, options: Mapping[str, Any]) -> nn.Module:
    made: nn.Module = decoder.build(maps, channels, **options)
    return made


def _match(made: Segmenter) -> None:
    """Put the decoder and the statistics where the backbone is, in its type."""
    reference = next((p for p in made.body.parameters() if p.is_floating_point()), None)
    if reference is not None:
        made.decoder.to(reference.device, reference.dtype)
        if reference.device.type != "meta":
            made.mean = made.mean.to(reference.device, reference.dtype)
            made.std = made.std.to(reference.device, reference.dtype)


def _freeze(made: Segmenter, located: Located, last: Any) -> None:
    """Stop what no loss reaches: parameters of the network behind the last map."""
    used = parameters_until(located, last)
    fresh = {id(p) for _, module in inserted_modules(made.body) for p in module.parameters()}
    for name, parameter in made.body.named_parameters():
        if name not in used and id(parameter) not in fresh:
            parameter.requires_grad_(False)

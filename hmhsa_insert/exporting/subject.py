"""What is exported: a copy of a network or segmenter in eval mode, or of a detector for one image; and its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hmhsa_insert.detection.artifact import is_detector, load
from hmhsa_insert.detection.detector import detector_record
from hmhsa_insert.files.hub import fetched
from hmhsa_insert.segmentation.artifact import is_segmenter
from hmhsa_insert.segmentation.artifact import load as load_segmenter
from hmhsa_insert.segmentation.segmenter import segmenter_record
from hmhsa_insert.surgery.artifact.artifact import open_model
from hmhsa_insert.surgery.base.fake import deep_copy
from hmhsa_insert.surgery.base.given import inputs_of
from hmhsa_insert.surgery.base.input import Input
from hmhsa_insert.surgery.base.inputs import Inputs, InputSize
from hmhsa_insert.surgery.edit.splice import ledgers
from hmhsa_insert.training.run_folder import ARTIFACT, is_run

_DEFAULT_SIZE = (3, 224, 224)


class OneImage(nn.Module):
    """A detector for one image C×H×W: its boxes, labels, scores (and masks) as tensors, in the order of names."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return what is found on the image, a tuple in the order boxes, labels, masks, scores."""
        (found,) = self.detector([image])
        return tuple(found[name] for name in sorted(found))


@dataclass(frozen=True)
class Subject:
    """What is exported.

    Attributes:
        model: a copy on the CPU in eval mode, in contiguous memory.
        inputs: what it takes.
        is_detector: whether it is a :class:`OneImage`.
    """

    model: nn.Module
    inputs: Inputs
    is_detector: bool


def subject(model: nn.Module | str | Path, input_size: InputSize = None, allow_code: bool = False) -> Subject:
    """Return what is exported of a network, a detector, a name that ``load_model`` takes, or a folder.

    Raises:
        ModelError, ArtifactError, WeightsError: there is no such network, or its folder is damaged.
    """
    own: Inputs | None = None
    if not isinstance(model, nn.Module):
        model, own = _opened(artifact_of(str(model)), allow_code)
    copied = deep_copy(model).eval().cpu().to(memory_format=torch.contiguous_format)
    record = detector_record(copied)
    if record is not None:
        asked = record.input_size if input_size is None else input_size
        channels, *image = inputs_of(copied, asked).image_size
        inputs = Inputs([Input((channels, *image), batched=False)])
        return Subject(OneImage(copied).eval(), inputs, True)
    if input_size is not None:
        return Subject(copied, inputs_of(copied, input_size), False)
    if (segmenter := segmenter_record(copied)) is not None:
        return Subject(copied, Inputs.of(segmenter.input_size), False)
    done = ledgers(model)
    return Subject(copied, own or (done[-1].plan.inputs if done else Inputs.of(_DEFAULT_SIZE)), False)


def artifact_of(given: str) -> str:
    """Return the artifact's folder of a run or of a name on the Hub; anything else as it is."""
    return str(Path(given) / ARTIFACT) if is_run(given) else fetched(given)


def _opened(given: str, allow_code: bool) -> tuple[nn.Module, Inputs | None]:
    if is_detector(given):
        return load(given, allow_code=allow_code), None
    if is_segmenter(given):
        return load_segmenter(given, allow_code=allow_code), None
    loaded = open_model(given, allow_code=allow_code)
    return loaded.model, loaded.inputs

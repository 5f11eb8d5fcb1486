"""Run a segmenter on image files: the class of every pixel, as a mask and over the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision.transforms.functional import pil_to_tensor

from hmhsa_insert.detection.predict import class_color
from hmhsa_insert.errors import ArtifactError, ModelError, Problem
from hmhsa_insert.files.hub import fetched
from hmhsa_insert.segmentation.artifact import is_segmenter, load
from hmhsa_insert.segmentation.coco_masks import BACKGROUND
from hmhsa_insert.segmentation.infer import scores_of
from hmhsa_insert.segmentation.labels import Numbers
from hmhsa_insert.segmentation.segmenter import segmenter_record
from hmhsa_insert.segmentation.transforms import scaled
from hmhsa_insert.training.run_folder import ARTIFACT, is_run

_PALETTE = 256
_OPACITY = 0.5


def open_segmenter(
    folder: str | Path, device: str | torch.device = "cpu", *, allow_code: bool = False
) -> nn.Module:
    """Return the segmenter of a folder, or of a run's best weights, ready to infer on `device`.

    Args:
        folder: of a segmenter, or of a run; or the name of a segmenter on the Hub.
        device: where it is to infer.
        allow_code: run the factory that the folder names as its backbone's.

    Raises:
        ArtifactError, WeightsError: it holds none, or is damaged.
    """
    where = Path(fetched(str(folder)))
    if is_run(where) and not is_segmenter(where):
        where = where / ARTIFACT
        if not is_segmenter(where):
            message = "this run has no segmenter: it is of another task, or its first epoch is not done"
            raise ArtifactError(Problem(str(folder), message))
    if not is_segmenter(where):
        tip = "`hmhsa-insert train … --task semantic` and hi.save(segmenter, DIR) write one"
        message = "this is not a folder of a segmenter" if where.exists() else "there is no such folder"
        raise ArtifactError(Problem(str(folder), message, tip))
    return load(where, allow_code=allow_code).eval().to(device)


def class_names(segmenter: nn.Module) -> tuple[str, ...]:
    """Return the names of the classes; numbers where none were given."""
    record = segmenter_record(segmenter)
    if record is None:
        raise ModelError(Problem(type(segmenter).__name__, "hi.segmenter did not build it"))
    return record.classes or tuple(f"class {number}" for number in range(record.num_classes))


@torch.no_grad()
def label_map(segmenter: nn.Module, image: Image.Image, window: int | None = None) -> Numbers:
    """Return the class of each pixel, H×W.

    Args:
        segmenter: from :func:`open_segmenter` or ``hi.segmenter``, in eval mode.
        image: upright, of any size.
        window: side of the windows that larger images are seen in; None: as the segmenter says.
    """
    record = segmenter_record(segmenter)
    if record is None:
        raise ModelError(Problem(type(segmenter).__name__, "hi.segmenter did not build it"))
    seen = record.seen if window is None else replace(record.seen, window=window)
    pixels = pil_to_tensor(image.convert("RGB" if record.input_size[0] == 3 else "L"))
    pixels = scaled(pixels, seen.size(image.height, image.width)).float() / 255
    device = next(segmenter.parameters()).device
    scores = scores_of(segmenter, pixels.to(device), seen, (image.height, image.width))
    found: Numbers = scores.argmax(0).int().cpu().numpy()
    return found


def as_mask(labels: Numbers, names: Sequence[str]) -> Image.Image:
    """Return labels as an image whose numbers they are: with a palette, or of 16 bits where there are more classes."""
    if len(names) > _PALETTE:
        return Image.fromarray(labels.astype(np.uint16))
    mask = Image.fromarray(labels.astype(np.uint8))
    mask.putpalette([value for color in colors(names) for value in color])
    return mask


def over(image: Image.Image, labels: Numbers, names: Sequence[str]) -> Image.Image:
    """Return the picture with every class in its color; a class called background leaves it as it is."""
    picture = np.asarray(image.convert("RGB"), dtype=np.float32)
    painted = np.array(colors(names), dtype=np.float32)[labels]
    is_seen = np.array([name != BACKGROUND for name in names])[labels][..., None]
    mixed = np.where(is_seen, (1 - _OPACITY) * picture + _OPACITY * painted, picture)
    return Image.fromarray(mixed.round().astype(np.uint8))


def colors(names: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return a color of each class; that of a background is black."""
    return [(0, 0, 0) if name == BACKGROUND else class_color(number) for number, name in enumerate(names)]

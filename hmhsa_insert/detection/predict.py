"""Run a detector on image files: what it found, in COCO's format and as pictures."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from hmhsa_insert.detection.artifact import is_detector, load
from hmhsa_insert.detection.coco_results import MASK_THRESHOLD, coco_results
from hmhsa_insert.detection.detector import DetectorRecord, detector_record
from hmhsa_insert.errors import ArtifactError, ModelError, Problem, first_line
from hmhsa_insert.files.hub import fetched
from hmhsa_insert.inert import visible
from hmhsa_insert.training.data.pictures import read_picture
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.run_folder import ARTIFACT, is_run

Found = dict[str, Tensor]


@dataclass(frozen=True)
class Detected:
    """What was found on one image.

    Attributes:
        image: as it was read, upright, 3×H×W, uint8.
        found: boxes, labels, scores, maybe masks, best first.
        results: the same as COCO's results.
    """

    image: Tensor
    found: Found
    results: list[dict[str, Any]]


def open_detector(
    folder: str | Path, device: str | torch.device = "cpu", *, allow_code: bool = False
) -> nn.Module:
    """Return the detector of a folder, or of a run's best weights, ready to infer on `device`.

    Args:
        folder: of a detector, or of a run; or the name of a detector on the Hub.
        device: where it is to infer.
        allow_code: run the factory that the folder names as its backbone's.

    Raises:
        ArtifactError, WeightsError: it holds none, or is damaged.
    """
    where = Path(fetched(str(folder)))
    if is_run(where) and not is_detector(where):
        where = where / ARTIFACT
        if not is_detector(where):
            message = "this run has no detector: it is of another task, or its first epoch is not done"
            raise ArtifactError(Problem(str(folder), message))
    if not is_detector(where):
        tip = "`hmhsa-insert train … --task detect` and hi.save(detector, DIR) write one"
        message = "this is not a folder of a detector" if where.exists() else "there is no such folder"
        raise ArtifactError(Problem(str(folder), message, tip))
    model = load(where, allow_code=allow_code)
    if detector_record(model) is None:
        raise ModelError(Problem(str(folder), "this is a network, not a detector"))
    return model.eval().to(device)


def read_image(path: Path) -> Tensor:
    """Return an image file as 3×H×W, uint8, as it looks: the same as in training; otherwise as :func:`read_file`."""
    pixels: Tensor = pil_to_tensor(read_file(path).convert("RGB"))
    return pixels


def read_file(path: Path) -> Image.Image:
    """Return the picture of an image file, upright, as the data's reader has it.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return read_picture(file)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise DataError(Problem(str(path), f"cannot be read: {reason}")) from error


def detect(detector: nn.Module, image: Tensor, image_id: int = 1, score: float = 0.0) -> Detected:
    """Return what a detector finds on one image.

    Args:
        detector: from :func:`open_detector` or ``hi.detector``.
        image: 3×H×W, uint8.
        image_id: for the results.
        score: least score of what is returned.
    """
    device = next(detector.parameters()).device
    with torch.no_grad():
        (found,) = detector([image.to(device).float() / 255])
    kept = found["scores"] >= score
    found = {name: values[kept].cpu() for name, values in found.items()}
    return Detected(image, found, coco_results(found, image_id, tuple(category_names(detector))))


def category_names(detector: nn.Module) -> dict[int, str]:
    """Return the data's category ids and names in the order of the labels; numbers where none were given."""
    record = detector_record(detector)
    if record is None:
        raise ModelError(Problem(type(detector).__name__, "hi.detector did not build it"))
    return dict(record.categories) or _numbered(record)


def draw(detected: Detected, names: Sequence[str]) -> Image.Image:
    """Return the image with every box, its class and score, and its mask.

    Args:
        detected: what to draw.
        names: of the labels 1, 2, ….
    """
    picture, found = detected.image, detected.found
    labels = found["labels"].tolist()
    if labels:
        colors = [class_color(label) for label in labels]
        if "masks" in found:
            masks = found["masks"][:, 0] > MASK_THRESHOLD
            picture = draw_segmentation_masks(picture, masks, alpha=0.5, colors=colors)
        texts = [
            f"{visible(names[label - 1])} {score:.2f}" if 0 < label <= len(names) else f"{score:.2f}"
            for label, score in zip(labels, found["scores"].tolist(), strict=True)
        ]
        width = max(2, round(min(picture.shape[1:]) / 200))
        picture = draw_bounding_boxes(picture, found["boxes"], texts, colors=colors, width=width)
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


def picture_names(images: Iterable[Path]) -> Iterator[str]:
    """Yield a file name for the picture of each image: its stem, numbered where another has it, never a folder."""
    taken: set[str] = set()
    for image in images:
        numbered = (f"{image.stem}-{number}" for number in range(2, len(taken) + 3))
        name = image.stem if image.stem not in taken else next(n for n in numbered if n not in taken)
        taken.add(name)
        yield f"{name}.png"


def _numbered(record: DetectorRecord) -> dict[int, str]:
    return {label: f"class {label}" for label in range(1, record.num_classes)}


def class_color(label: int) -> tuple[int, int, int]:
    """Return a class's color: hues that lie far apart for neighbouring labels."""
    red, green, blue = colorsys.hsv_to_rgb((label * 0.618034) % 1.0, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)

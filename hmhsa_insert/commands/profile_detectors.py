"""What ``hmhsa-insert profile`` does for whole detectors: networks built into one, and folders that hold one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hmhsa_insert.commands.options import parse_size
from hmhsa_insert.errors import Argument, ModelError, Problem

if TYPE_CHECKING:
    from torch import nn

    from hmhsa_insert.surgery.base.load import LoadedModel

_SIZE = "800x1333"
# COCO's 80 categories and the background.
_NUM_CLASSES = 81


def refuse_measuring(asked: dict[str, bool]) -> None:
    """Report options that time or run networks: a detector's time depends on what its images show.

    Raises:
        ModelError: one of `asked` was given.
    """
    message = "is for models: whole detectors, whose work depends on what an image shows, are only counted"
    problems = [
        Problem(Argument(option), message, "profile the backbone alone") for option, on in asked.items() if on
    ]
    if problems:
        raise ModelError(problems)


def detector_records(
    specs: list[str],
    networks: dict[str, LoadedModel],
    recipes: list[str],
    sizes: list[str],
    kind: str | None,
    allow_code: bool,
) -> list[dict[str, Any]]:
    """Return the profiles of detectors: folders as they are, networks plain and with each recipe inside `kind`.

    Args:
        specs: what the user named, in order.
        networks: those of `specs` that are no detector's folder.
        recipes: planned again at each size.
        sizes: as the user wrote them; by default 800x1333.
        kind: the detector around networks.
        allow_code: run the factories that folders name as their backbones'.

    Raises:
        ModelError: a network beside detectors, and no kind; no such detector; a network that lacks a stride.
        PlanError: a recipe does not fit a network.
    """
    from hmhsa_insert.commands.console import progress
    from hmhsa_insert.detection.artifact import load
    from hmhsa_insert.detection.costs import profile_detectors

    if kind is None and networks:
        message = "is a network, and is compared with detectors"
        tip = "`detector='retinanet'` builds one around it"
        raise ModelError([Problem(spec, message, tip) for spec in networks])
    with progress.status("loading the detectors"):
        loaded = {spec: load(spec, allow_code=allow_code) for spec in specs if spec not in networks}
    records = []
    for text in sizes or [_SIZE]:
        size = parse_size(text, (3,))
        with progress.status("building the detectors"):
            found: dict[str, nn.Module] = {}
            for spec in specs:
                built = _built(networks[spec], recipes, size, str(kind)) if spec in networks else None
                found |= built if built is not None else {spec: loaded[spec]}
        with progress.status("counting"):
            records += [record.as_dict() for record in profile_detectors(found, (size[-2], size[-1]))]
    return records


def _built(
    network: LoadedModel, recipes: list[str], size: tuple[int, ...], kind: str
) -> dict[str, nn.Module]:
    from hmhsa_insert.costs.candidates import candidates
    from hmhsa_insert.detection.detector import detector
    from hmhsa_insert.recipe import load_recipe

    at = (network.input_size[0], size[-2], size[-1])
    found = candidates([network], [load_recipe(recipe) for recipe in recipes], at)
    return {
        f"{kind} {name}": detector(kind, model, _NUM_CLASSES, input_size=at) for name, model in found.items()
    }

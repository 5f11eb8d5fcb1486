"""What ``hmhsa-insert profile`` does for whole networks: detectors and segmenters, built around networks or loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hmhsa_insert.commands.options import parse_size
from hmhsa_insert.errors import Argument, ModelError, Problem

if TYPE_CHECKING:
    from torch import nn

    from hmhsa_insert.surgery.base.load import LoadedModel


@dataclass(frozen=True)
class WholeKind:
    """A kind of whole network.

    Attributes:
        option: of the command, which names what is built around networks.
        plural: for messages.
        size: at which papers count it.
        example: of a name.
        is_folder: returns True for a folder that holds one.
        load: loads such a folder.
        build: builds one of a name around a network, for images C×H×W.
        profile: counts some at a height and width.
    """

    option: str
    plural: str
    size: str
    example: str
    is_folder: Callable[[str], bool]
    load: Callable[..., nn.Module]
    build: Callable[[str, nn.Module, tuple[int, int, int]], nn.Module]
    profile: Callable[[Mapping[str, nn.Module], tuple[int, int]], Any]


def whole_kinds() -> tuple[WholeKind, ...]:
    """Return the kinds that there are; torch is imported then."""
    from hmhsa_insert.detection import artifact as detectors
    from hmhsa_insert.detection.costs import profile_detectors
    from hmhsa_insert.detection.detector import detector
    from hmhsa_insert.segmentation import artifact as segmenters
    from hmhsa_insert.segmentation.network import profile_segmenters
    from hmhsa_insert.segmentation.segmenter import segmenter

    return (
        WholeKind(
            "detector",
            "detectors",
            "800x1333",
            "retinanet",
            detectors.is_detector,
            detectors.load,
            # COCO's 80 categories and the background.
            lambda name, model, size: detector(name, model, 81, input_size=size),
            profile_detectors,
        ),
        WholeKind(
            "decoder",
            "segmenters",
            "512x2048",
            "semantic_fpn",
            segmenters.is_segmenter,
            segmenters.load,
            # ADE20K's classes.
            lambda name, model, size: segmenter(name, model, 150, input_size=size),
            profile_segmenters,
        ),
    )


def whole_asked(specs: list[str], names: Mapping[str, str | None]) -> tuple[WholeKind, list[str]] | None:
    """Return which kind of whole networks is asked for, and which of `specs` are its folders; None if none is.

    Args:
        specs: what the user named.
        names: option -> what is built around networks, where the user said it.

    Raises:
        ModelError: two kinds are asked for.
    """
    from hmhsa_insert.files.hub import fetched

    found = []
    for kind in whole_kinds():
        folders = [spec for spec in specs if kind.is_folder(fetched(spec))]
        if folders or names.get(kind.option):
            found.append((kind, folders))
    if len(found) > 1:
        message = f"{found[0][0].plural} and {found[1][0].plural} are not compared with each other"
        raise ModelError(Problem(Argument(found[1][0].option), message, "profile them in two commands"))
    return found[0] if found else None


def refuse_measuring(kind: WholeKind, asked: dict[str, bool]) -> None:
    """Report options that time or run networks: whole networks are only counted.

    Raises:
        ModelError: one of `asked` was given.
    """
    message = f"is for models: whole {kind.plural} are only counted"
    problems = [
        Problem(Argument(option), message, "profile the backbone alone") for option, on in asked.items() if on
    ]
    if problems:
        raise ModelError(problems)


def whole_records(
    kind: WholeKind,
    specs: list[str],
    networks: dict[str, LoadedModel],
    recipes: list[str],
    sizes: list[str],
    name: str | None,
    allow_code: bool,
) -> list[dict[str, Any]]:
    """Return the profiles of whole networks: folders as they are, networks plain and with each recipe inside `name`.

    Args:
        kind: of the whole networks.
        specs: what the user named, in order.
        networks: those of `specs` that are no folder of the kind.
        recipes: planned again at each size.
        sizes: as the user wrote them; by default that of papers.
        name: of what is built around networks.
        allow_code: run the factories that folders name as their backbones'.

    Raises:
        ModelError: a network beside whole networks, and no name; no such name; a network that lacks a stride.
        PlanError: a recipe does not fit a network.
    """
    from hmhsa_insert.commands.console import progress

    if name is None and networks:
        message = f"is a network, and is compared with {kind.plural}"
        tip = f"`{kind.option}='{kind.example}'` builds one around it"
        raise ModelError([Problem(spec, message, tip) for spec in networks])
    with progress.status(f"loading the {kind.plural}"):
        loaded = {spec: kind.load(spec, allow_code=allow_code) for spec in specs if spec not in networks}
    records = []
    for text in sizes or [kind.size]:
        size = parse_size(text, (3,))
        with progress.status(f"building the {kind.plural}"):
            found: dict[str, nn.Module] = {}
            for spec in specs:
                if spec in networks:
                    found |= _built(kind, networks[spec], recipes, size, str(name))
                else:
                    found[spec] = loaded[spec]
        with progress.status("counting"):
            records += [record.as_dict() for record in kind.profile(found, (size[-2], size[-1]))]
    return records


def _built(
    kind: WholeKind, network: LoadedModel, recipes: list[str], size: tuple[int, ...], name: str
) -> dict[str, nn.Module]:
    from hmhsa_insert.costs.candidates import candidates
    from hmhsa_insert.recipe import load_recipe

    at = (network.input_size[0], size[-2], size[-1])
    found = candidates([network], [load_recipe(recipe) for recipe in recipes], at)
    return {f"{name} {label}": kind.build(name, model, at) for label, model in found.items()}

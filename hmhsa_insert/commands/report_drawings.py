"""Drawings for the page of a report: the networks of its runs, built again and drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmhsa_insert.errors import HmhsaInsertError

if TYPE_CHECKING:
    from torch import nn

# What of a run's configuration says how its network is drawn.
_DRAWN_BY = ("model", "recipe", "task", "detector")


def with_drawings(records: Sequence[Mapping[str, Any]], allow_code: bool) -> list[Mapping[str, Any]]:
    """Return records of which each run's has the drawing of its network; of runs that differ by their seeds, the first.

    A network that cannot be built or drawn is left out with a note.

    Args:
        records: of a report.
        allow_code: run the factories that files name.
    """
    from hmhsa_insert.commands.console import note, progress

    drawn: set[str] = set()
    found = []
    for record in records:
        key = _key(record)
        if key is None or key in drawn:
            found.append(record)
            continue
        drawn.add(key)
        with progress.status("") as status:
            status.update(f"drawing {record['name']}")
            try:
                drawing = _drawing(record, allow_code)
            except HmhsaInsertError as error:
                # not among the results: a page that is printed is all that stands there
                note(f"{record['name']} is not drawn: {error}", progress)
                found.append(record)
            else:
                found.append({**record, "drawing": drawing})
    return found


def _key(record: Mapping[str, Any]) -> str | None:
    """Return what two runs share whose networks look alike; None for a record of no run, or with a drawing."""
    if "run" not in record or record.get("drawing"):
        return None
    config = record["run"]["config"]
    return json.dumps(
        [record["input_size"], *(config.get(name) for name in _DRAWN_BY)], sort_keys=True, default=str
    )


def _drawing(record: Mapping[str, Any], allow_code: bool) -> dict[str, Any]:
    from hmhsa_insert.drawing.draw import draw

    network = _network(Path(record["run"]["folder"]), allow_code)
    return draw(network, input_size=_size(network, record), name=record["name"]).contents.as_dict()


def _size(network: nn.Module, record: Mapping[str, Any]) -> tuple[int, int, int]:
    from hmhsa_insert.training.adapt import input_channels

    _, height, width = record["input_size"]
    return input_channels(network), height, width


def _network(folder: Path, allow_code: bool) -> nn.Module:
    """Return the network of a run: of a detector the one that recipes edit."""
    from hmhsa_insert.detection.artifact import is_detector
    from hmhsa_insert.detection.predict import open_detector
    from hmhsa_insert.surgery.artifact.artifact import is_artifact, open_model
    from hmhsa_insert.training.run_folder import ARTIFACT
    from hmhsa_insert.training.score import network_of_run

    if is_detector(artifact := folder / ARTIFACT):
        detector: Any = open_detector(folder, allow_code=allow_code)
        body: nn.Module = detector.backbone.body
        return body
    if is_artifact(artifact):
        return open_model(str(artifact), allow_code=allow_code, meta=True).model
    return network_of_run(folder, allow_code=allow_code)

"""What a network is scored on: the data opened, its classes matched, and whether it may have been trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hmhsa_insert.errors import Argument, Problem
from hmhsa_insert.training.data import Data, open_data, open_scored
from hmhsa_insert.training.data.digests import Watch, covers_contents
from hmhsa_insert.training.data.matching import matched
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.run_folder import is_run, read_config
from hmhsa_insert.training.run_identity import CLASS_NAMES, NAMES_FINGERPRINT, as_known_then
from hmhsa_insert.training.schema import ClassifySettings, LoaderSettings
from hmhsa_insert.training.settings import load_settings


@dataclass(frozen=True)
class Scored:
    """What a network is scored on.

    Attributes:
        data: the source; its validation split is scored, with the numbers of the network's classes. Its notes say
            what was decided, and what is not known.
        unseen: whether it is known that the network was trained on no image of it; None where that is not asked.
    """

    data: Any
    unseen: bool | None


@dataclass(frozen=True)
class Asked:
    """What the user said of the data.

    Attributes:
        source: of the data, or the data; None: the run's own.
        data_dir: where downloaded data is kept.
        overrides: of the settings.
        renamed: class of the data -> class of the network.
        watch: of ``open_data``.
    """

    source: Any
    data_dir: str | Path | None
    overrides: Sequence[str]
    renamed: Mapping[str, str]
    watch: Watch | None = None


def scored_by_run(config: Mapping[str, Any], settings: ClassifySettings, asked: Asked) -> Scored:
    """Return what a run is scored on; errors as of ``open_data``.

    Raises:
        DataError: classes that the run does not know.
    """
    known = config["data"]
    if asked.source is None:
        opened = open_data(str(known["source"]), asked.data_dir, settings.loader, watch=asked.watch)
        unseen, notes = _compared(opened, config)
    elif isinstance(asked.source, str):
        opened = open_scored(asked.source, asked.data_dir, _loader(settings, asked), watch=asked.watch)
        if opened.whole is not None and opened.fingerprint == known["fingerprint"]:
            # The run's own pictures: its score on those it was trained on says nothing of what it learned.
            opened = open_data(asked.source, asked.data_dir, settings.loader)
        # One split with all pictures of the run holds those that it was trained on.
        unseen, notes = opened.fingerprint == known["fingerprint"] and opened.train is not opened.val, []
    else:
        opened, notes = asked.source, []
        unseen = opened.fingerprint == known["fingerprint"]
    share = config["settings"].get("loader", {}).get("val_share", LoaderSettings().val_share)
    if unseen and opened.whole is not None and settings.loader.val_share != share:
        unseen = False
        notes.append(f"loader.val_share was {share:g} in training: pictures it was trained on are scored")
    if known.get(CLASS_NAMES) is None:
        notes.append("this run does not say what its classes are called: they are matched by their order")
    return _matched(opened, known.get(CLASS_NAMES), asked, unseen, notes)


def scored_by_model(folder: str | None, asked: Asked) -> Scored:
    """Return what a network of no run is scored on; one that a run wrote knows that run's classes.

    Args:
        folder: what names the network, if anything does.
        asked: what the user said of the data.
    """
    assert asked.source is not None
    loader = load_settings({"epochs": 1, "batch_size": 1}, asked.overrides).loader
    opened = asked.source
    if isinstance(opened, str):
        opened = open_scored(opened, asked.data_dir, loader, watch=asked.watch)
    around = Path(folder).absolute().parent if folder is not None and Path(folder).is_dir() else None
    names = read_config(around)["data"].get(CLASS_NAMES) if around is not None and is_run(around) else None
    notes = (
        []
        if names is not None
        else ["the network does not say what its classes are called: matched by order"]
    )
    return _matched(opened, names, asked, False, notes)


def _matched(
    data: Data, names: Sequence[str] | None, asked: Asked, unseen: bool, notes: Sequence[str]
) -> Scored:
    if names is not None:
        data = matched(data, names, asked.renamed)
    elif asked.renamed:
        raise DataError(
            Problem(Argument("renamed"), "nothing says what the classes of this network are called")
        )
    return Scored(replace(data, notes=(*data.notes, *notes)), unseen)


def _compared(opened: Data, config: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """Return whether a run's own data is still what it was, and what is said if that is not so or unknown."""
    fingerprint = config["data"]["fingerprint"]
    here = {
        "source": opened.source,
        "fingerprint": opened.fingerprint,
        NAMES_FINGERPRINT: opened.names_fingerprint,
    }
    if as_known_then({"data": here}, config)["data"]["fingerprint"] != fingerprint:
        return False, ["the pictures are not those of the run any more: some may have been trained on"]
    if covers_contents(opened.fingerprint) and not covers_contents(fingerprint):
        return True, ["the run is of an earlier version: whether pictures were replaced since is not known"]
    return True, []


def _loader(settings: ClassifySettings, asked: Asked) -> LoaderSettings:
    """Return how other data than the run's is read: its splits are not where the run's were."""
    given = load_settings({"epochs": 1, "batch_size": 1}, asked.overrides).loader
    return settings.loader.model_copy(update={"train": given.train, "val": given.val})

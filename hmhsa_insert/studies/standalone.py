"""A study file that stands alone: with every recipe and every settings file that it names written into it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmhsa_insert.recipe.marks import Document
from hmhsa_insert.studies.schema import StudyFile
from hmhsa_insert.studies.variants import base_recipe
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.settings import shipped_settings


def standalone(
    file: StudyFile, document: Document, folder: Path, settings: Mapping[str, RunSettings]
) -> dict[str, Any]:
    """Return what a study file says, as plain data; files that are named are recipes' and settings' no more.

    Shipped settings stay a name with what differs from them.

    Args:
        file: that was found without problems.
        document: its values with their places.
        folder: where it lies.
        settings: that it makes, by label.
    """
    asked: dict[str, Any] = copy.deepcopy(document.value)
    for label, entry in file.variants.items():
        base = base_recipe(label, entry, document, folder, []) if entry.recipe is not None else None
        if base is not None:
            own = {key: value for key, value in asked["variants"][label].items() if key != "recipe"}
            asked["variants"][label] = {"edits": copy.deepcopy(base.value["edits"]), **own}
    for label, values in asked["settings"].items():
        if values.get("base") not in (None, *shipped_settings()):
            asked["settings"][label] = settings[label].model_dump(mode="json")
    return asked

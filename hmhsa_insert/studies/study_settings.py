"""The training settings of a study: its task's, from a file or a shipped one, with the study's own keys over them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hmhsa_insert.errors import HmhsaInsertError, Problem, near
from hmhsa_insert.recipe.marks import Document
from hmhsa_insert.recipe.scalars import shown
from hmhsa_insert.studies.compose import Composition
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.schema import StudyFile
from hmhsa_insert.tasks.table import refuse_options, settings_class
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.settings import load_settings, read_settings, shipped_settings


def settings_type(document: Document, file: StudyFile, task: str) -> type[RunSettings]:
    """Return the settings of the study's task.

    Raises:
        StudyError: there is no such task, or it has no such detector or decoder.
    """
    try:
        kind: type[RunSettings] = settings_class(task)
        refuse_options(task, dict.fromkeys(file.around, True))
    except HmhsaInsertError as error:
        key = str(error.problems[0].where)
        where = document.marks.where((key,) if getattr(file, key, None) is not None else ())
        raise StudyError([Problem(where, found.message, found.tip) for found in error.problems]) from error
    return kind


def settings_of(document: Document, label: str, folder: Path, kind: type[RunSettings]) -> RunSettings:
    """Return the settings of one label: those of ``base``, with the other keys put over them."""
    entry = document.value["settings"][label]
    path = ("settings", label)
    own = {key: value for key, value in entry.items() if key != "base"}
    if "base" not in entry:
        return load_settings(Composition(own, document.marks, path).document(), kind=kind)
    base = entry["base"]
    if not isinstance(base, str):
        message = f"'base' must be a file or one of the shipped settings, found {shown(base)}"
        raise StudyError(Problem(document.marks.where((*path, "base")), message))
    beside = folder / base
    try:
        read = read_settings(beside if os.path.isfile(beside) else base)
    except HmhsaInsertError as error:
        tip = f"{near(base, shipped_settings())} shipped: {', '.join(shipped_settings())}".strip()
        where = document.marks.where((*path, "base"))
        raise StudyError([Problem(where, f"{p.where}: {p.message}", tip) for p in error.problems]) from error
    if read.findings.problems() or not isinstance(read.value, dict):
        return load_settings(read, kind=kind)
    form = Composition(read.value, read.marks)
    _put_over(form, document, path, (), own)
    return load_settings(form.document(), kind=kind)


def _put_over(
    form: Composition,
    document: Document,
    root: tuple[str, ...],
    path: tuple[str, ...],
    own: Mapping[str, Any],
) -> None:
    for key, value in own.items():
        there = form.value
        for part in path:
            there = there[part]
        if isinstance(value, dict) and isinstance(there.get(key), dict):
            _put_over(form, document, root, (*path, key), value)
        else:
            form.put((*path, key), value, document.marks, (*root, *path, key))

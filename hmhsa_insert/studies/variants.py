"""Variants: from an entry of a study file to recipes, one for every combination of its axes and each control."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hmhsa_insert.blocks.in_recipe import checked_recipe
from hmhsa_insert.errors import HmhsaInsertError, Problem, RecipeError, near
from hmhsa_insert.files.text import RECIPE, read_file
from hmhsa_insert.recipe import Recipe, find_recipe
from hmhsa_insert.recipe.marks import Document, KeyPath
from hmhsa_insert.recipe.recipe import parse_document
from hmhsa_insert.recipe.yaml_text import read_text
from hmhsa_insert.studies.compose import Composition
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.schema import VariantEntry

# More than anyone trains: each is a recipe that is read and planned.
MOST_VARIANTS = 1_000
# What study.json calls a pruned variant, which is compared with the one it comes from as a control is.
PRUNED = "pruned"
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass(frozen=True)
class Variant:
    """What is done to every base network.

    Attributes:
        label: for tables.
        recipe: None for the network as it is.
        refused: whether its recipe has problems, so that it is not to be planned.
        control: which of the controls it is; empty if it is none.
        of: label of the variant that it is the control of, or is pruned from.
        keep: how many of its blocks a pruned one keeps; 0: it is not pruned.
    """

    label: str
    recipe: Recipe | None
    refused: bool = False
    control: str = ""
    of: str = ""
    keep: int = 0


@dataclass(frozen=True)
class _Axis:
    """One key of a recipe and what it is set to.

    Attributes:
        name: as the file has it, such as ``attn.at.stage``.
        values: by label.
        short: for labels of variants.
    """

    name: str
    values: Mapping[str, Any]
    short: str


def make_variants(
    entries: Mapping[str, VariantEntry], document: Document, folder: Path, problems: list[Problem]
) -> list[Variant]:
    """Return the variants of a study file; what is wrong with them goes to `problems`.

    Args:
        entries: of the file.
        document: its values with their places.
        folder: where the file lies: recipes are looked for there first.
        problems: is added to.

    Raises:
        StudyError: the axes make more variants than a study may have; none is made.
    """
    _check_number(entries, document)
    made = [
        variant
        for label in entries
        for variant in _of_entry(label, entries[label], document, folder, problems)
    ]
    seen: set[str] = set()
    for variant in made:
        if variant.label in seen:
            where = document.marks.where(("variants",), key=True)
            problems.append(Problem(where, f"two variants are labelled '{variant.label}'", "rename one"))
        seen.add(variant.label)
    return made


def _check_number(entries: Mapping[str, VariantEntry], document: Document) -> None:
    """Count the variants before any is made: nine axes of ten values are a thousand million."""
    counts = {
        label: math.prod(len(values) for values in entry.axes.values())
        * (1 + len(entry.controls) + len(entry.prune))
        for label, entry in entries.items()
    }
    if sum(counts.values()) > MOST_VARIANTS:
        label = max(counts, key=lambda each: counts[each])
        where = document.marks.where(("variants", label, "axes"), key=True)
        message = (
            f"the axes of '{label}' make {counts[label]:,} variants; a study has at most {MOST_VARIANTS:,}"
        )
        raise StudyError(Problem(where, message, "shorten its lists, or make several studies of it"))


def _of_entry(
    label: str, entry: VariantEntry, document: Document, folder: Path, problems: list[Problem]
) -> list[Variant]:
    path: KeyPath = ("variants", label)
    before = len(problems)
    if entry.recipe is None and entry.edits is None:
        for key in ("axes", "controls", "prune"):
            if getattr(entry, key):
                message = f"'{key}' goes with a recipe, and '{label}' has none"
                problems.append(Problem(document.marks.where((*path, key), key=True), message))
        return [Variant(label, None, len(problems) > before)]
    if entry.recipe is not None and entry.edits is not None:
        where = document.marks.where((*path, "edits"), key=True)
        problems.append(Problem(where, f"'{label}' has both a recipe and edits", "keep one of them"))
        return [Variant(label, None, refused=True)]
    base = base_recipe(label, entry, document, folder, problems)
    if base is None:
        return [Variant(label, None, refused=True)]
    made = []
    axes = [_Axis(name, values, _short(name, entry.axes)) for name, values in entry.axes.items()]
    for chosen in itertools.product(*(axis.values for axis in axes)):
        form = Composition(base.value, base.marks)
        words = [f"{axis.short}={value}" for axis, value in zip(axes, chosen, strict=True)]
        for axis, value in zip(axes, chosen, strict=True):
            _set(form, axis, value, document, path, problems)
        own = " ".join([label, *words])
        for control in (None, *entry.controls):
            varied = bool(words) or control is not None
            variant = _variant(f"{own} {control}" if control else own, form, control, varied, problems)
            made.append(replace(variant, control=control, of=own) if control else variant)
        whole = made[-1 - len(entry.controls)]
        made += [
            replace(whole, label=f"{own} keep={keep}", control=PRUNED, of=own, keep=keep)
            for keep in entry.prune
        ]
    return made


def base_recipe(
    label: str, entry: VariantEntry, document: Document, folder: Path, problems: list[Problem]
) -> Document | None:
    """Return an entry's recipe as plain values, before any axis."""
    path: KeyPath = ("variants", label)
    if entry.recipe is None:
        form = Composition({"version": 1}, document.marks, path)
        form.put(("edits",), document.value["variants"][label]["edits"], document.marks, (*path, "edits"))
        return form.document()
    try:
        beside = folder / entry.recipe
        found = beside if os.path.isfile(beside) else find_recipe(entry.recipe)
        read = read_text(read_file(found, RecipeError, RECIPE), str(found))
    except HmhsaInsertError as error:
        where = document.marks.where((*path, "recipe"))
        problems += [Problem(where, f"{p.where}: {p.message}", p.tip) for p in error.problems]
        return None
    if unreadable := read.findings.problems():
        problems += unreadable
        return None
    return read


def _short(name: str, axes: Mapping[str, Any]) -> str:
    """Return an axis's last word, or as many as set it apart from the others."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        short = ".".join(parts[-count:])
        if sum(other == short or other.endswith(f".{short}") for other in axes) == 1:
            return short
    return name


def _set(
    form: Composition, axis: _Axis, value: str, document: Document, path: KeyPath, problems: list[Problem]
) -> None:
    """Put one value of an axis where the axis says."""
    where = document.marks.where((*path, "axes", axis.name), key=True)
    name, *keys = axis.name.split(".")
    edits = form.value.get("edits") if isinstance(form.value, dict) else None
    ids = [edit.get("id") for edit in edits if isinstance(edit, dict)] if isinstance(edits, list) else []
    if name not in ids or not all(keys) or not keys:
        tip = f"{near(name, [each for each in ids if isinstance(each, str)])} write ID.KEY, such as attn.at.stage"
        message = f"the axis '{axis.name}' names no edit of the recipe"
        if name in ids:
            message = f"the axis '{axis.name}' names no key of the edit"
        problems.append(Problem(where, message, tip.strip()))
        return
    target: KeyPath = ("edits", ids.index(name), *(int(key) if key.isdecimal() else key for key in keys))
    try:
        form.put(target, axis.values[value], document.marks, (*path, "axes", axis.name, value))
    except (LookupError, TypeError):
        message = f"the axis '{axis.name}' leads to nothing in the recipe"
        problems.append(Problem(where, message, "every key but the last must be there"))


def _variant(
    label: str, form: Composition, control: str | None, varied: bool, problems: list[Problem]
) -> Variant:
    """Read one recipe; with a control, that takes the place of every block that is inserted.

    A recipe that was varied is called by its label: by its own name all values of an axis would be alike.
    """
    document = form.document()
    if control is not None and not _put_control(document.value, control):
        where = document.marks.where(("edits",))
        problems.append(
            Problem(where, f"'{label}': a control takes the place of inserted blocks, and none is", "")
        )
    if isinstance(document.value, dict) and (varied or "name" not in document.value):
        document.value["name"] = _NOT_A_NAME.sub("-", label).strip("-._+")[:100] or "variant"
    recipe, found = parse_document(document, "recipe")
    _, found = checked_recipe(recipe, found) if recipe.edits else (recipe, found)
    problems += found
    return Variant(label, recipe, refused=bool(found))


def _put_control(recipe: Any, control: str) -> bool:
    edits: Sequence[Any] = recipe.get("edits") if isinstance(recipe.get("edits"), list) else ()
    inserted = [edit for edit in edits if isinstance(edit, dict) and edit.get("op") == "insert"]
    for edit in inserted:
        edit["block"] = {"type": control, "of": edit.get("block")}
    return bool(inserted)

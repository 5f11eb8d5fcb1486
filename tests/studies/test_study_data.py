"""Studies on folders: two sets of equal names are two, changed pictures are other ones, and earlier trials are kept."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from study_nets import STUDY

from hmhsa_insert.studies.ablate import ablate, run_study
from hmhsa_insert.studies.engines.local import LocalEngine
from hmhsa_insert.studies.identity import trial_id
from hmhsa_insert.studies.outcomes import read_outcomes
from hmhsa_insert.studies.plan_study import plan_study
from hmhsa_insert.studies.study_file import load_study
from hmhsa_insert.studies.watcher import Unwatched

SETTINGS = {
    "s": {
        "epochs": 3,
        "batch_size": 8,
        "input_size": 16,
        "optimizer": {"lr": 2e-2},
        "augment": {"scale": [0.9, 1.0], "crop_pct": 1.0},
        "compute": {"device": "cpu"},
        "loader": {"workers": 0},
    }
}


def _make(root: Path, levels: dict[str, int]) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 8)):
        for name, level in levels.items():
            for index in range(count):
                path = root / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(level + rng.integers(-20, 20, (16, 16, 3)), 0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(path)


def _study(data: Any, **changes: Any) -> dict[str, Any]:
    return STUDY | {"data": data, "settings": SETTINGS, "seeds": 1, "variants": {"plain": None}} | changes


def _rows(folder: Path) -> dict[str, tuple[str, float]]:
    table = read_outcomes(folder).trials
    return {row.data: (row.id, row.top1) for row in table.itertuples()}


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    _make(tmp_path / "raw" / "pets", {"cat": 30, "dog": 220})
    _make(tmp_path / "masked" / "pets", {"cat": 128, "dog": 128})
    return tmp_path


def test_two_sets_of_equal_names_are_two_and_pictures_replaced_are_others(pets: Path) -> None:
    ablate(_study(["raw/pets", "masked/pets"]), "both")
    both = _rows(pets / "both")
    assert both["raw/pets"][0] != both["masked/pets"][0]
    assert both["raw/pets"][1] == 100
    assert both["masked/pets"][1] < 100
    shutil.copytree(pets / "raw" / "pets", pets / "moved")
    ablate(_study("moved"), "moved study")
    assert _rows(pets / "moved study")["moved"][0] == both["raw/pets"][0]
    _make(pets / "masked" / "pets", {"cat": 30, "dog": 220})
    ablate(_study(["raw/pets", "masked/pets"]), "both")
    again = _rows(pets / "both")
    assert again["raw/pets"] == both["raw/pets"]
    assert again["masked/pets"][0] != both["masked/pets"][0]
    assert again["masked/pets"][1] == 100


class _Told(Unwatched):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def _by_names(study: dict[str, Any]) -> list[Any]:
    """Return the trials of a study as an earlier version knew them."""
    planned = plan_study(load_study(study))
    return [replace(t, id=trial_id(t.cell.names_digest, t.seed)) for t in planned.trials]


def test_trials_of_an_earlier_version_are_kept_and_that_is_said_once(pets: Path) -> None:
    ablate(_study("raw/pets"), "study")
    (now,) = (path.name for path in (pets / "study" / "trials").iterdir())
    (before,) = (trial.id for trial in _by_names(_study("raw/pets")))
    assert before != now
    folder = pets / "study" / "trials"
    shutil.move(folder / now, folder / before)
    text = (folder / before / "trial.json").read_text().replace(now, before)
    (folder / before / "trial.json").write_text(text)
    told = _Told()
    run = ablate(_study("raw/pets"), "study", watcher=told)
    assert [path.name for path in folder.iterdir()] == [before]
    assert list(run.outcomes) == [before]
    assert told.notes == [
        "1 trials are of an earlier version, which knew data by names and classes: whether pictures were replaced "
        "since is not known"
    ]
    assert _rows(pets / "study")["raw/pets"] == (before, 100.0)


def test_a_trial_that_two_sets_claim_is_neithers(pets: Path) -> None:
    ids = {trial.id for trial in _by_names(_study(["raw/pets", "masked/pets"]))}
    assert len(ids) == 1
    (pets / "study" / "trials" / ids.pop()).mkdir(parents=True)
    planned = plan_study(load_study(_study(["raw/pets", "masked/pets"])))
    from hmhsa_insert.studies.earlier import with_earlier_trials

    kept = with_earlier_trials(planned, pets / "study")
    assert [trial.id for trial in kept.trials] == [trial.id for trial in planned.trials]
    assert (
        "1 trials of an earlier version are not used: it took data of equal names for the same" in kept.notes
    )


def test_data_that_changes_between_plan_and_trial_is_refused(pets: Path) -> None:
    planned = plan_study(load_study(_study("raw/pets")))
    _make(pets / "raw" / "pets", {"cat": 60, "dog": 200})
    from hmhsa_insert.studies.problems import StudyError
    from hmhsa_insert.studies.trial import forget_data

    forget_data()
    with pytest.raises(StudyError, match="is not what it was when the study was planned"):
        run_study(planned, pets / "study", LocalEngine())
    assert ablate(_study("raw/pets"), "study").count("done") == 1

"""``ablate``: its plan, its lines, the live table, going on, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import error_of, output, run

from hmhsa_insert.studies.plan_study import plan_study
from hmhsa_insert.studies.power import least_difference
from hmhsa_insert.studies.store import commit, write_study
from hmhsa_insert.studies.study_file import load_study

STUDY = """# Does one attention block change anything?
version: 1
models: [test_resnet]
data: digits
seeds: 1
settings:
  least: {epochs: 1, batch_size: 480, input_size: 16, augment: {crop_pct: 1.0}, compute: {device: cpu}}
variants:
  plain:
  attn:
    edits:
      - {op: insert, id: attn, at: {stage: 1}, block: {type: hmhsa, head_dim: 8}}
  twin:
    edits:
      - {op: insert, id: attn, at: {stride: 4}, block: {type: hmhsa, head_dim: 8, grids: auto}}
"""


@pytest.fixture
def study(here: Path) -> Path:
    torch.set_num_threads(1)
    path = here / "mine.yaml"
    path.write_text(STUDY)
    return path


def test_a_plan_lists_trials_with_cost_and_says_which_are_the_same(study: Path, here: Path) -> None:
    text = output("ablate mine.yaml --dry-run")
    assert "twin (same as attn)" in text
    assert "3 trials, 2 distinct, 0 done" in text
    assert not (here / "studies").exists()


def test_a_study_is_run_once_and_reported(study: Path, here: Path) -> None:
    first = output("ablate mine.yaml -o out --only plain")
    assert "1/1  plain · seed 0  top-1 " in first
    assert "1 trial done, 1 left out by --only" in first
    second = output("ablate mine.yaml -o out --resume")
    assert "2 trials, 1 of them done before" in second
    assert "2/2  attn · seed 0  top-1 " in second
    assert "wrote " in second
    third = output("ablate mine.yaml -o out")
    assert "2 trials, 2 of them done before" in third
    assert "seed 0  top-1" not in third
    assert "2/2" not in output("ablate mine.yaml -o out --dry-run").replace("1/1", "")


def test_a_plan_says_what_its_seeds_resolve_from_finished_trials_or_a_pilot(study: Path) -> None:
    study.write_text(STUDY.replace("seeds: 1", "seeds: 3"))
    assert "which difference these seeds can resolve" in output("ablate mine.yaml --dry-run")
    planned = plan_study(load_study(study))
    write_study(Path("out"), planned.to_dict())
    for number, trial in enumerate(planned.distinct.values()):
        row = {"id": trial.id, "status": "done", "message": "", "top1": 90.0 + number * number / 10}
        commit(Path("out"), row)
    text = output("ablate mine.yaml -o out --dry-run")
    assert "what the planned seeds can resolve" in text
    # Differences 0.9, 1.5 and 2.1: sd 0.6, and with as much noise 6 seeds find one point, 14 half a one.
    rows = [line.split() for line in text.splitlines() if line.split()[:2] == ["attn", "plain"]]
    assert rows == [
        ["attn", "plain", "3", "0.60", "3", "pairs", f"±{least_difference(3, 0.6):.2f}", "6", "14"]
    ]
    study.write_text(STUDY.replace("seeds: 1", "seeds: 5").replace("epochs: 1", "epochs: 2"))
    text = output("ablate mine.yaml -o other --dry-run --pilot out")
    rows = [line.split() for line in text.splitlines() if line.split()[:2] == ["attn", "plain"]]
    assert rows[0][2:8] == ["5", "0.60", "pilot,", "3", "pairs", f"±{least_difference(5, 0.6):.2f}"]
    assert not Path("other").exists()
    said = error_of("ablate mine.yaml --pilot out")
    assert "--pilot: says what a plan resolves" in said
    assert "add --dry-run" in said


def test_what_is_refused_comes_before_anything_is_run(study: Path) -> None:
    assert "holds no study to resume" in error_of("ablate mine.yaml -o new --resume")
    assert "no shipped study of that name" in error_of("ablate wher")
    assert "did you mean 'where'?" in error_of("ablate wher")
    assert "takes no number of workers" in error_of("ablate mine.yaml --workers 2")
    assert "must be 'local', 'processes' or 'ray'" in error_of("ablate mine.yaml --engine slurm")
    study.write_text(STUDY.replace("head_dim: 8", "head_dim: 7"))
    text = error_of("ablate mine.yaml")
    assert "mine.yaml:12:79: attn on test_resnet: " in text
    assert "mine.yaml:15:80: twin on test_resnet: " in text


def test_the_live_table_follows_a_study(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from hmhsa_insert.commands import console

    terminal = Console(force_terminal=True, width=80, height=24, record=True, highlight=False, markup=False)
    monkeypatch.setattr(console, "notes", terminal)
    monkeypatch.setattr("hmhsa_insert.commands.ablate_view.notes", terminal)
    assert run("ablate mine.yaml -o out").exit_code == 0
    text = terminal.export_text()
    assert "2 of 2 trials ended" in text
    assert "running" in text or "starting" in text


def test_a_study_of_networks_that_nobody_has_fits_a_screen(study: Path) -> None:
    models = ", ".join(f"none{number}" for number in range(300))
    study.write_text(STUDY.replace("[test_resnet]", f"[{models}]"))
    lines = error_of("ablate mine.yaml --dry-run").splitlines()
    assert lines[0] == "error: the study cannot be used (300 problems)"
    assert "none0: " in lines[1]
    assert lines[-1] == "  … and 285 more problems"
    assert len(lines) <= 32

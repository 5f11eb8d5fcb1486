"""The race: short paired trainings, and when a lead is more than noise."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from hmhsa_insert.placement.candidates import find_candidates
from hmhsa_insert.placement.find import _entrants, _p, find
from hmhsa_insert.placement.finding import Finding, Raced
from hmhsa_insert.placement.race import Lead, _LossLog, lead, race, race_settings
from hmhsa_insert.surgery.locate.stages import locate
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.reporter import OptimizerStep
from hmhsa_insert.training.settings import load_settings

SMALL = ["input_size=16", "batch_size=32", "epochs=4", "compute.device=cpu"]


@pytest.mark.parametrize(
    ("epochs", "share", "updates", "expected"),
    [(10, 0.25, 100, (3, 84)), (4, 0.25, 80, (1, 80)), (2, 0.01, 100, (1, 2)), (8, 1.0, 5, (8, 5))],
)
def test_a_race_takes_its_share_of_the_steps(
    epochs: int, share: float, updates: int, expected: tuple[int, int]
) -> None:
    short = race_settings(load_settings({"epochs": epochs, "batch_size": 8}), share, updates)
    assert (short.epochs, short.epoch_steps) == expected


def test_the_schedule_of_a_race_is_that_of_the_training_drawn_together() -> None:
    schedule = {"name": "multistep", "milestones": [4, 6], "warmup_epochs": 2.0}
    values = {"epochs": 8, "batch_size": 8, "schedule": schedule, "finetune": {"freeze_base_epochs": 2}}
    short = race_settings(load_settings(values), 0.5, 10)
    assert (short.schedule.milestones, short.schedule.warmup_epochs) == ((2, 3), 1.0)
    assert short.finetune.freeze_base_epochs == 1
    assert race_settings(load_settings(values), 0.1, 10).schedule.name == "constant"


def _step(epoch: int, update: int, mean: float) -> OptimizerStep:
    return OptimizerStep(epoch, 2, update, 3, mean, {}, 1.0)


def test_losses_of_updates_are_told_from_means_and_what_is_done_again_counts_once(tmp_path: Path) -> None:
    log = _LossLog(tmp_path / "losses.csv")
    losses = {1: [3.0, 2.0, 1.0], 2: [0.5, 0.75, 0.25]}
    for epoch, values in losses.items():
        for update in range(1, 4):
            log.step(_step(epoch, update, sum(values[:update]) / update))
    log.step(_step(1, 3, 2.0))  # gone back to the end of the first epoch
    log.step(_step(2, 1, 0.5))
    assert log.losses() == pytest.approx([3.0, 2.0, 1.0, 0.5, 0.75, 0.25])


def test_a_lead_is_that_of_the_last_half_with_the_error_of_its_stretches() -> None:
    generator = np.random.default_rng(0)
    plain, other = generator.normal(2, 0.1, 100), generator.normal(1.9, 0.1, 100)
    found = lead(plain, other)
    difference = (plain - other)[50:]
    means = [part.mean() for part in np.array_split(difference, 7)]
    t, p = stats.ttest_1samp(means, 0)
    assert found is not None
    assert (found.updates, found.mean) == (50, pytest.approx(difference.mean()))
    assert found.p == pytest.approx(p, rel=0.2)
    assert found.t == pytest.approx(t, rel=0.1)
    assert lead(plain, plain) == Lead(0.0, 0.0, 1.0, 50)
    constant = lead(plain, plain - 0.5)
    assert constant is not None
    assert constant.mean == pytest.approx(0.5)
    assert lead(plain[:14], other[:14]) is None


def test_autocorrelated_differences_do_not_look_surer_than_they_are() -> None:
    """Of slowly wandering differences around zero, far fewer are called a lead than with independent errors."""
    generator = np.random.default_rng(0)
    called = 0
    for _ in range(400):
        noise = generator.normal(size=512)
        walk = np.zeros(512)
        for k in range(1, 512):
            walk[k] = 0.8 * walk[k - 1] + noise[k]
        found = lead(walk, np.zeros(512))
        called += found is not None and found.p < 0.05
    naive = stats.norm.sf(1.96 / 3) * 2  # the error of independent differences is three times too small here
    assert called / 400 < 0.25 * naive


@pytest.mark.parametrize(
    ("number", "expected"), [(1, "a"), (2, "ae"), (3, "abe"), (4, "abed"), (5, "abced"), (9, "abcde")]
)
def test_half_of_the_entrants_are_the_best_by_the_prior_and_half_the_largest(
    number: int, expected: str
) -> None:
    scored: Any = [
        SimpleNamespace(candidate=SimpleNamespace(name=name, num_params=params))
        for name, params in (("a", 1), ("b", 9), ("c", 2), ("d", 3), ("e", 10))
    ]
    assert "".join(each.candidate.name for each in _entrants(scored, number)) == expected


@pytest.mark.parametrize("entrants", [1, 4])
def test_p_is_that_of_unchanged_networks_times_the_entrants(entrants: int) -> None:
    own = Lead(0.3, 9.0, 1e-4, 40)
    assert _p(own, 0.1, 3, entrants) == pytest.approx(entrants * 2 * stats.t.sf(3.0, 3))
    assert _p(own, None, 0, entrants) is None
    assert _p(Lead(0.05, 9.0, 1e-4, 40), 0.1, 3, 4) == 1.0


def test_a_loss_is_never_a_gain() -> None:
    found = Raced(None, Lead(-0.3, -9.0, 1e-4, 40), 1e-6)  # type: ignore[arg-type]
    assert not found.measurable
    assert Finding((), (found,)).best == ()


def test_a_race_is_paired_goes_on_and_says_what_leads(tmp_path: Path) -> None:
    run = plan_run("test_resnet", "digits", overrides=SMALL)
    base = run.base()
    candidates = find_candidates(base.model, locate(base.model, base.size), [{"type": "irb"}])
    said: list[str] = []
    found = find(
        run,
        candidates,
        tmp_path,
        device=torch.device("cpu"),
        entrants=1,
        share=0.1,
        progress=lambda what, done, whole: said.append(what),
    )
    assert found.updates == round(0.1 * 4 * (1437 // 32)) == 18
    assert len(found.scored) == 3  # the map of stage 4 is a single position
    assert [each.lead.mean for each in found.raced if each.lead] == sorted(
        (each.lead.mean for each in found.raced if each.lead), reverse=True
    )
    assert found.apart is not None
    assert math.isfinite(found.apart)
    assert said[-1] == f"racing {found.scored[0].candidate.recipe.name}"
    assert "racing plain" in said
    # What was raced is read again, not trained again.
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    again = find(run, candidates, tmp_path, device=torch.device("cpu"), entrants=1, share=0.1)
    assert again == found
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}


def test_the_first_update_of_all_entrants_has_the_same_loss(tmp_path: Path) -> None:
    run = plan_run("test_resnet", "digits", overrides=SMALL)
    short = replace(run, settings=race_settings(run.settings, 0.05, 44))
    base = run.base()
    candidates = find_candidates(base.model, locate(base.model, base.size), [{"type": "irb"}])
    (tmp_path / "plain-losses.csv").write_text("1,1,9.0\n7,1,9.0\n")  # of a run that was removed
    plain = race(short, None, tmp_path / "plain")
    assert len(plain) == short.settings.epochs * short.settings.epoch_steps
    other = race(short, candidates.blocks[2].recipe.to_dict(), tmp_path / "other")
    assert plain[0] == other[0]  # the identity form changes nothing before the first update
    assert not np.array_equal(plain, other)

"""The size of a run's images, said by an argument: it is the setting of that name, for train, evaluate and commands."""

from __future__ import annotations

from typing import Any

import pytest
from training_nets import few_digits, irb_nano

import hmhsa_insert as hi
from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.score import candidate

QUIET: dict[str, Any] = {"epochs": 1, "batch_size": 8, "input_size": 32}


@pytest.mark.parametrize("size", [48, [48], (48, 48)])
def test_it_is_the_setting_and_wins_over_it(size: Any) -> None:
    run = plan_run(irb_nano(), few_digits(), settings=QUIET, overrides=["input_size=40"], input_size=size)
    same = plan_run(irb_nano(), few_digits(), settings=QUIET, overrides=["input_size=48"])
    assert run.settings.input_size == 48
    assert run.settings == same.settings


def test_a_network_is_scored_at_it() -> None:
    assert candidate(irb_nano(num_classes=10), few_digits(), input_size=24).run.settings.input_size == 24
    found = hi.evaluate(irb_nano(num_classes=10), few_digits(), input_size=24)
    assert found.images == len(few_digits().val)


@pytest.mark.parametrize("size", [0, (32, 48), (1, 28, 28), ()])
def test_anything_but_a_square_is_refused(size: Any) -> None:
    for call in (plan_run, candidate):
        with pytest.raises(HmhsaInsertError) as caught:
            call(irb_nano(), few_digits(), input_size=size)
        (problem,) = caught.value.problems
        assert problem.where == "input_size"
        assert "images are cut to squares" in problem.message


def test_a_detector_has_two_sizes_of_its_own() -> None:
    with pytest.raises(HmhsaInsertError) as caught:
        plan_run("test_resnet", "nowhere", task="detect", input_size=64)
    assert "input_size: the task 'detect' does not use it" in str(caught.value)


def test_a_wrong_type_names_the_argument() -> None:
    with pytest.raises(
        hi.ArgumentError, match="input_size: a whole number or a list of whole numbers was expected"
    ):
        hi.train(irb_nano(), few_digits(), input_size="96")  # type: ignore[call-overload]

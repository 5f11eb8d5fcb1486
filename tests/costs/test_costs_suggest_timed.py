"""Suggestions within a time: which are kept, by times that are given, and that real ones are measured."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import timm
import torch
from torch import nn

from hmhsa_insert.costs.suggest import budget, search
from hmhsa_insert.costs.suggest_timed import Measured, measured, read_latency, within_time
from hmhsa_insert.costs.suggested import Suggestions, TimeRatio
from hmhsa_insert.errors import HmhsaInsertError, ModelError
from hmhsa_insert.surgery.base.inputs import Inputs

INPUTS = Inputs.of((3, 32, 32))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return timm.create_model("test_resnet", num_classes=10)


@pytest.fixture(scope="module")
def found(network: nn.Module) -> Suggestions:
    made = search(network, INPUTS, budget("+30%", None, None), "timm/se")
    assert len(made) >= 3
    return made


class Clock:
    """Gives each recipe the times of a table, and keeps what was asked."""

    def __init__(self, times: Mapping[str, tuple[float, float]]) -> None:
        self.times = times
        self.asked: list[tuple[str, int]] = []

    def __call__(self, models: Mapping[str, nn.Module], inputs: Inputs, rounds: int) -> Measured:
        assert next(iter(models)) == ""  # the network itself, in every group
        self.asked += [(name, rounds) for name in models if name]
        return {
            name: tuple(
                TimeRatio(mode, t, t - 0.01, t + 0.01)
                for mode, t in zip(("inference", "training"), both, strict=True)
            )
            for name, both in {"": (1.0, 1.0), **self.times}.items()
        }


def test_what_takes_longer_in_either_mode_is_left_out(network: nn.Module, found: Suggestions) -> None:
    names = [each.recipe.name for each in found]
    slow = dict.fromkeys(names, (1.5, 1.5))
    clock = Clock({**slow, names[0]: (1.02, 1.03), names[1]: (1.0, 1.04), names[2]: (1.16, 1.0)})
    kept = within_time(network, INPUTS, found, 0.0, measure=clock)
    assert [each.recipe.name for each in kept] == [names[0]]
    assert kept[0].times[1] == TimeRatio("training", 1.03, 1.02, 1.04)
    assert kept.fastest is not None
    assert kept.fastest.recipe.name == names[0]
    # Timed in many rounds is what might be within.
    assert {name for name, rounds in clock.asked if rounds == 15} == {names[0], names[1]}
    assert {name for name, rounds in clock.asked if rounds == 3} == set(names)
    more = within_time(network, INPUTS, found, 0.02, measure=Clock(clock.times))
    assert {each.recipe.name for each in more} == {names[0], names[1]}


def test_nothing_within_the_time_says_what_came_nearest(network: nn.Module, found: Suggestions) -> None:
    names = [each.recipe.name for each in found]
    clock = Clock({**dict.fromkeys(names, (1.5, 1.5)), names[1]: (1.2, 1.25)})
    nothing = within_time(network, INPUTS, found, 0.0, measure=clock)
    assert len(nothing) == 0
    message, nearest = nothing.why_none
    assert message == "no recipe within the counted limits keeps to the time"
    assert nearest == (
        f"the nearest is {names[1]}, 1.20 times as long in inference (1.19 to 1.21), "
        "1.25 times as long in training (1.24 to 1.26)"
    )


def test_tables_and_files_say_the_times(network: nn.Module, found: Suggestions) -> None:
    clock = Clock({each.recipe.name: (0.99, 1.01) for each in found})
    kept = within_time(network, INPUTS, found, 0.0, measure=clock)
    (table,) = kept.tables()
    assert [header.text for header in table.headers][-2:] == ["time, inference", "time, training"]
    assert "# Measured where it was suggested: 0.99 times as long in inference (0.98 to 1.00), 1.01 " in kept[
        0
    ].text(kept.base, "it")


def test_times_are_measured(network: nn.Module) -> None:
    times = measured({"": network, "again": network}, INPUTS, 3)
    assert [each.mode for each in times["again"]] == ["inference", "training"]
    for each in times["again"]:
        assert 0 < each.p10 <= each.ratio <= each.p90
    assert [each.ratio for each in times[""]] == [1.0, 1.0]


def test_networks_without_weights_cannot_be_timed(found: Suggestions) -> None:
    with torch.device("meta"):
        bare = timm.create_model("test_resnet", num_classes=10)
    with pytest.raises(ModelError, match="nothing can be timed"):
        within_time(bare, INPUTS, found, 0.0)


@pytest.mark.parametrize(("given", "share"), [("+0%", 0.0), ("+2.5%", 0.025), (None, None)])
def test_limits_are_shares(given: str | None, share: float | None) -> None:
    assert read_latency(given) == share


@pytest.mark.parametrize("given", ["25M", 25.0])
def test_other_limits_are_refused(given: str | float) -> None:
    with pytest.raises(HmhsaInsertError, match="is not a share of the network's time"):
        read_latency(given)

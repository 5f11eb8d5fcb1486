"""The end of an epoch: which weights are the best so far, and what its row says."""

from types import SimpleNamespace
from typing import Any

import pytest

from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.quantity import NUMBER, SCORES, Quantity
from hmhsa_insert.training.loop.epoch import _better, _counted, _row
from hmhsa_insert.training.loop.progress import Best


def _loop(best: Best, epoch: int, history: Any = (), column: str = "top1", **group: float) -> Any:
    return SimpleNamespace(
        progress=SimpleNamespace(best=best, epoch=epoch, total=7, history=history),
        task=SimpleNamespace(best=column),
        settings=SimpleNamespace(batch_size=40),
        schedule=SimpleNamespace(optimizer=SimpleNamespace(param_groups=[group, {"lr": 9.0}])),
    )


def _found(**top1: float | None) -> Any:
    return {name: SimpleNamespace(row={"top1": score}) for name, score in top1.items()}


@pytest.mark.parametrize(
    ("score", "found", "expected"),
    [
        (50.0, _found(model=50.0), None),
        (50.0, _found(model=49.0, ema=50.0), None),
        (50.0, _found(model=50.5), Best(50.5, 3, "model")),
        (50.0, _found(model=51.0, ema=52.0), Best(52.0, 3, "ema")),
        (50.0, _found(model=52.0, ema=51.0), Best(52.0, 3, "model")),
        (50.0, _found(model=52.0, ema=52.0), Best(52.0, 3, "model")),
        (None, _found(model=None), None),
        (None, _found(model=-7.0), Best(-7.0, 3, "model")),
        (-5.0, _found(model=None), None),
        (-5.0, _found(model=-4.0, ema=None), Best(-4.0, 3, "model")),
    ],
)
def test_only_a_higher_score_is_better(score: float | None, found: Any, expected: Best | None) -> None:
    best = Best(-1.0 if score is None else score, 2, "model")
    assert _better(_loop(best, 3, [{"top1": 99.0}, {"top1": score}]), found) == expected


def test_the_averages_score_is_what_has_to_be_beaten() -> None:
    history = [{"top1": 70.0, "ema_top1": 60.0}]
    assert _better(_loop(Best(60.0, 1, "ema"), 2, history), _found(model=65.0)) == Best(65.0, 2, "model")


@pytest.mark.parametrize(
    ("found", "expected"),
    [({"model": 2.0, "ema": 1.0}, (1.0, "ema")), ({"model": 3.0}, None), ({"model": 4.0}, None)],
)
def test_a_quantity_of_which_less_is_better(
    found: dict[str, float], expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Quantity("error", "Error", better="less", kind=NUMBER, section=SCORES)
    monkeypatch.setitem(QUANTITIES, "error", row)
    scores: Any = {name: SimpleNamespace(row={"error": value}) for name, value in found.items()}
    better = _better(_loop(Best(3.0, 1, "model"), 2, [{"error": 3.0}], "error"), scores)
    assert better == (Best(expected[0], 2, expected[1]) if expected else None)


def test_the_first_epoch_is_the_best_even_without_a_score() -> None:
    assert _better(_loop(Best(), 1), _found(model=None)) == Best(-1.0, 1, "model")


@pytest.mark.parametrize(("group", "lr"), [({"lr": 0.02, "lr_scale": 0.25}, 0.08), ({"lr": 0.02}, 0.02)])
def test_a_row_by_hand(group: dict[str, float], lr: float) -> None:
    row = _row(_loop(Best(), 3, **group), {"loss": 1.5}, _found(model=60.0, ema=70.0))
    assert row == {
        "epoch": 3,
        "updates": 7,
        "images": 280,
        "lr": pytest.approx(lr),
        "train_loss": 1.5,
        "top1": 60.0,
        "ema_top1": 70.0,
    }


def test_the_average_counts_where_there_is_one() -> None:
    both, alone = _found(model=60.0, ema=50.0), _found(model=60.0)
    assert _counted(both) is both["ema"]
    assert _counted(alone) is alone["model"]

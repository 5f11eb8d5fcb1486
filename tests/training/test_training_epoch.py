"""The end of an epoch: which weights are the best so far, and what its row says."""

from types import SimpleNamespace
from typing import Any

import pytest

from hmhsa_insert.training.epoch import _better, _counted, _row
from hmhsa_insert.training.progress import Best


def _loop(best: Best, epoch: int, **group: float) -> Any:
    return SimpleNamespace(
        progress=SimpleNamespace(best=best, epoch=epoch, total=7),
        task=SimpleNamespace(best="top1"),
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
        (-1.0, _found(model=None), None),
        (-1.0, _found(model=0.0), Best(0.0, 3, "model")),
        (-5.0, _found(model=None), None),
        (-5.0, _found(model=-4.0, ema=None), Best(-4.0, 3, "model")),
    ],
)
def test_only_a_higher_score_is_better(score: float, found: Any, expected: Best | None) -> None:
    assert _better(_loop(Best(score, 2, "model"), 3), found) == expected


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

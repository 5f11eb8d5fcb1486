"""A network without stages is refused with the true reason; clips whose frames run as a batch have stages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from edits import insert, recipe
from torch import Tensor, nn

import hmhsa_insert as hi
from hmhsa_insert.costs.count import count
from hmhsa_insert.surgery.edit.splice import inserted_modules

BLOCK = {"type": "irb", "expansion": 1}


def chain(dimensions: int, channels: int, *, transposed: bool = False) -> nn.Sequential:
    """Return two strided convolutions over so many axes, pooled and classified."""
    suffix = f"{dimensions}d"
    conv = getattr(nn, f"Conv{suffix}")
    layers: list[nn.Module] = [conv(channels, 8, 3, 2, 1), nn.ReLU(), conv(8, 16, 3, 2, 1), nn.ReLU()]
    if transposed:
        layers.append(getattr(nn, f"ConvTranspose{suffix}")(16, 16, 2, 2))
    pool = getattr(nn, f"AdaptiveAvgPool{suffix}")(1)
    return nn.Sequential(*layers, pool, nn.Flatten(), nn.Linear(16, 5))


class Tokens(nn.Module):
    """A transformer over words."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(50, 16), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layer(self.table(tokens)).mean(1)


class TwoAndOne(nn.Module):
    """Factorized 3-D convolutions, as R(2+1)D has them."""

    def __init__(self) -> None:
        super().__init__()
        self.space, self.time = nn.Conv3d(3, 8, (1, 3, 3), (1, 2, 2), (0, 1, 1)), nn.Conv3d(8, 16, (3, 1, 1))
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.time(self.space(x).relu()).mean((2, 3, 4)))


NONE = [
    ("3-D", chain(3, 3), (3, 8, 64, 64), "three spatial axes"),
    ("3-D decoder", chain(3, 1, transposed=True), (1, 16, 32, 32), "three spatial axes"),
    ("2+1-D", TwoAndOne(), (3, 8, 32, 32), "three spatial axes"),
    ("1-D", chain(1, 1), (1, 4096), "one spatial axis"),
    ("1-D many channels", chain(1, 12), (12, 1000), "one spatial axis"),
    ("1-D decoder", chain(1, 2, transposed=True), (2, 512), "one spatial axis"),
    ("words", Tokens(), "tokens:16:int64<50", "is an image C×H×W"),
    ("numbers", nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 2)), (10,), "is an image C×H×W"),
]
EDITS = [
    insert({"stage": "all"}, BLOCK),
    insert({"stage": "all", "exclude": ["x*"]}, BLOCK, init="random"),
    insert({"stride": 4}, BLOCK),
    {"op": "replace", "id": "new", "at": {"downsample": 3}, "block": {"type": "tdb"}},
]


@pytest.mark.parametrize(
    ("network", "size", "reason"), [row[1:] for row in NONE], ids=[row[0] for row in NONE]
)
@pytest.mark.parametrize("edit", EDITS, ids=["all", "exclude", "stride", "downsample"])
def test_no_stage_is_an_error_with_its_reason(
    network: nn.Module, size: Any, reason: str, edit: dict[str, Any]
) -> None:
    with pytest.raises(hi.PlanError, match=reason):
        hi.apply(network, recipe(edit), size)


class Frames(nn.Module):
    """N×T×C×H×W, the frames run as a batch; `first` says which of T and C comes first."""

    def __init__(self, first: str = "T", pooled: bool = False) -> None:
        super().__init__()
        self.first, self.pooled = first, pooled
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU())
        self.late, self.fc = nn.Conv2d(16, 16, 3, 2, 1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.first == "T" else x.transpose(1, 2)
        n, t = x.shape[:2]
        y = self.body(x.reshape(-1, *x.shape[2:]))
        if self.pooled:
            return self.fc(self.late(y.view(n, t, *y.shape[1:]).mean(1)).mean((2, 3)))
        return self.fc(self.late(y).mean((2, 3))).view(n, t, -1).mean(1)


class Views(Frames):
    """N×V×T×C×H×W: all frames of all views as one batch."""

    def forward(self, x: Tensor) -> Tensor:
        n, v, t = x.shape[:3]
        y = self.late(self.body(x.flatten(0, 2)))
        return self.fc(y.mean((2, 3))).view(n, v * t, -1).mean(1)


CLIPS = {
    "T first": (Frames(), (8, 3, 64, 64), 8, 8),
    "C first": (Frames("C"), (3, 4, 64, 64), 4, 4),
    "pooled over time": (Frames(pooled=True), (6, 3, 64, 64), 6, 1),
    "views": (Views(), (2, 3, 3, 64, 64), 6, 6),
}


@pytest.mark.parametrize("clip", CLIPS)
def test_frames_that_run_as_a_batch_have_stages(clip: str) -> None:
    network, size, frames, late = CLIPS[clip]
    stages = hi.locate_stages(network, size)
    assert [(s.stride, s.channels, s.height) for s in stages] == [(2, 8, 32), (4, 16, 16), (8, 16, 8)]
    assert [stage.cut_points[-1].frames for stage in stages] == [frames, frames, late]
    edited = hi.apply(network, recipe(insert({"stride": [4, 8]}, BLOCK)), size)
    checks = hi.verify(network, edited)
    assert all(check.passed for check in checks), checks
    x = torch.randn(2, *size)
    for _, module in inserted_modules(edited):
        before = edited.eval()(x)
        nn.init.constant_(module.gamma, 0.5)  # type: ignore[arg-type]
        assert (edited(x) - before).abs().max() > 0


def test_a_plan_predicts_the_cost_of_all_frames() -> None:
    network, size, *_ = CLIPS["pooled over time"]
    made = hi.plan(network, recipe(insert({"stride": [4, 8]}, BLOCK)), size)
    edited = hi.apply(network, recipe(insert({"stride": [4, 8]}, BLOCK)), size)
    assert sum(site.macs for site in made.sites) == count(edited, size).macs - count(network, size).macs


def test_an_edit_that_is_nowhere_is_an_error() -> None:
    image = chain(2, 3)
    for edit in (
        insert({"stage": "all", "exclude": ["*"]}, BLOCK),
        insert({"class": "Conv2d", "exclude": ["*"]}, BLOCK),
    ):
        with pytest.raises(hi.PlanError):
            hi.apply(image, recipe(insert({"stride": 4}, BLOCK, id="good"), edit), (3, 64, 64))

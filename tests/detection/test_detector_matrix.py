"""The networks of the paper's tables as detectors, plain and with H-MHSA: loss, backward, inference, folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scenes import shaken, targets
from torch import nn

import hmhsa_insert as hi

# Divides the channels of all of them at stage 3, HAT-Net-Tiny's 240 too.
BLOCK = {"type": "hmhsa", "head_dim": 16}
STAGE3 = {"version": 1, "edits": [{"op": "insert", "id": "hmhsa", "at": {"stage": 3}, "block": BLOCK}]}
NETWORKS = ("resnet18", "resnet50", "mobilenetv2_100", "transcnn_tiny", "hat_net_tiny")


def check(detector: nn.Module, scale: int, folder: Path) -> None:
    """Train one step on two images, `scale` times those of the scenes; then infer, before and after a folder."""
    images, wanted = enlarged(scale)
    losses = detector.train()(images, wanted)
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    missing = [name for name, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    wrong = [n for n, p in detector.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    assert not wrong
    detector.zero_grad()
    loaded = hi.load(hi.save(detector.eval(), folder))
    with torch.no_grad():
        ours, theirs = loaded(images[:1]), detector(images[:1])
    assert ours[0].keys() == theirs[0].keys()
    assert all(torch.equal(ours[0][key], theirs[0][key]) for key in ours[0])
    assert len(ours[0]["boxes"])


def enlarged(scale: int) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, 64 * scale, 80 * scale, generator=generator) for _ in range(2)]
    wanted = targets()
    first, none = wanted
    first["boxes"] = first["boxes"] * scale
    first["masks"] = first["masks"].repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    none["masks"] = torch.zeros(0, *images[1].shape[1:], dtype=torch.uint8)
    return images, wanted


def build(kind: str, network: str, edited: bool, **options: int) -> nn.Module:
    torch.manual_seed(0)
    model = shaken(hi.load_model(network).model)
    if edited:
        model = hi.apply(model, STAGE3)
    threshold = {"score_thresh": 0.0} if kind == "retinanet" else {"box_score_thresh": 0.0}
    return hi.detector(kind, model, 4, **threshold, **options)


@pytest.mark.long
@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("kind", ["retinanet", "maskrcnn"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(96, 128), (320, 480)])
def test_every_network_as_every_detector(
    network: str, kind: str, edited: bool, size: tuple[int, int], tmp_path: Path
) -> None:
    short, long = size
    detector = build(kind, network, edited, min_size=short, max_size=long)
    check(detector, short // 64, tmp_path / "made")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["retinanet", "maskrcnn"])
def test_at_the_size_of_the_paper(kind: str, tmp_path: Path) -> None:
    check(build(kind, "resnet18", True, min_size=800, max_size=1333), 12, tmp_path / "made")

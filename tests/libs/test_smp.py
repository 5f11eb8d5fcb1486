"""segmentation_models_pytorch: twelve decoders on spliced encoders, and the stages of a U-Net."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import hmhsa_insert as hi

pytestmark = pytest.mark.libs
smp = pytest.importorskip("segmentation_models_pytorch")

ENCODERS = ("resnet18", "mobilenet_v2", "efficientnet-b0")
DECODERS = (
    *("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet"),
    *("PAN", "DeepLabV3", "DeepLabV3Plus", "UPerNet", "Segformer"),
)
TOKENS = tuple(f"tu-{name}_patch16_224" for name in ("vit_tiny", "vit_small", "deit_tiny"))
CASES = [(decoder, encoder) for decoder in DECODERS for encoder in ENCODERS]
CASES += [("DPT", encoder) for encoder in TOKENS]  # it takes vision transformers only


def build(decoder: str, encoder: str) -> nn.Module:
    return getattr(smp, decoder)(encoder, encoder_weights=None, classes=2)


def side(decoder: str) -> int:
    return {"PAN": 128, "DPT": 224}.get(decoder, 64)  # the least that they take


@pytest.mark.parametrize(("decoder", "encoder"), CASES)
def test_every_decoder_runs_on_a_spliced_encoder(decoder: str, encoder: str, recipe_at: Any) -> None:
    base, size = build(decoder, encoder), (3, side(decoder), side(decoder))
    # A vision transformer has tokens in place of maps; its decoder has maps.
    where = {"stage": "all"} if decoder != "DPT" else {"neck": "all"}
    edited = hi.apply(base, recipe_at(where), size)
    checks = {check.name: check for check in hi.verify(base, edited)}
    assert [name for name, check in checks.items() if not check.passed] == []
    assert (checks["eval outputs"].value, checks["train outputs"].value) == (0.0, 0.0)
    assert {"gradients", "blocks act"} <= set(checks)
    image = torch.rand(2, *size)
    edited.train()(image).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in edited.parameters() if p.grad is not None)
    gammas = [p for name, p in edited.named_parameters() if name.endswith("added.gamma")]
    assert gammas
    assert all(gamma.grad is not None and gamma.grad.abs().max() > 0 for gamma in gammas)


def test_the_stages_of_a_unet_are_its_encoders_layers_and_its_necks_the_decoders_blocks() -> None:
    model = build("Unet", "resnet18")
    stages = hi.locate_stages(model, (3, 64, 64))
    assert [(stage.index, stage.cut_points[-1].qualname) for stage in stages] == [
        (0, "encoder.relu"),
        *((number, f"encoder.layer{number}.1") for number in (1, 2, 3, 4)),
    ]
    neck = hi.locate_stages(model, (3, 64, 64), part="neck")
    assert [(stage.index, stage.cut_points[-1].qualname) for stage in neck] == [
        *((3 - number, f"decoder.blocks.{number}") for number in range(4)),
        (-1, "decoder"),  # the last block's map is what the decoder returns
    ]

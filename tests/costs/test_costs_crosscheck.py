"""fvcore and torch agree, and a disagreement is said."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from hmhsa_insert.costs import crosscheck as module
from hmhsa_insert.costs.count import count
from hmhsa_insert.costs.crosscheck import crosscheck, fvcore_macs


@pytest.mark.parametrize(
    "name",
    ["resnet10t", "mobilenetv2_035", "test_vit", "test_convnext", "botnet26t_256"],
)
def test_agrees_exactly(name):
    model = timm.create_model(name)
    counts = count(model, model.default_cfg["input_size"])
    check = crosscheck(model, counts)
    assert (check.macs_fvcore, check.difference, check.finding) == (counts.macs, 0.0, "")


class Everything(nn.Module):
    """One of each operation that fvcore by itself leaves out or reads differently."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(4, 8, 3, padding="same", groups=2)
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)
        self.norm = nn.GroupNorm(2, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mixing = nn.Parameter(torch.ones(3, 8, 8))

    def forward(self, x):
        x = F.interpolate(self.norm(self.up(self.same(x))), scale_factor=0.5, mode="bilinear")
        tokens = x.flatten(2).transpose(1, 2)
        tokens = self.attention(tokens, tokens, tokens)[0]
        fused = F.scaled_dot_product_attention(tokens, tokens, tokens)
        mixed = self.mixing @ tokens.transpose(1, 2).unsqueeze(1)
        summed = torch.einsum("bnc,bmc->bnm", fused, tokens)
        added = torch.baddbmm(torch.zeros(1), tokens, tokens.transpose(1, 2))
        vector = x[0, 0] @ x[0, 0, 0]
        return {"out": (mixed, summed + added), "size": tuple(x.shape), "vector": vector, "none": None}


def test_handlers_cover_what_fvcore_misses():
    model = Everything()
    counts = count(model, (4, 6, 6))
    check = crosscheck(model, counts)
    assert check.macs_fvcore == counts.macs > 0
    assert not check.finding


def test_a_difference_is_a_finding():
    model = timm.create_model("resnet10t")
    counts = count(model, (3, 64, 64))
    check = crosscheck(model, replace(counts, macs=counts.macs * 2))
    assert check.difference == pytest.approx(-0.5)
    assert check.finding == (
        f"fvcore counts {counts.macs:,} multiply–accumulates where torch counts {2 * counts.macs:,} (-50.0%)"
    )


def test_a_batch_is_compared_per_image():
    model = timm.create_model("resnet10t")
    assert crosscheck(model, count(model, (3, 64, 64), batch=4)).difference == 0.0


class Moody(nn.Module):
    """Cannot be traced, but can be counted."""

    def forward(self, x):
        if torch.jit.is_tracing():
            raise RuntimeError("not now\nand a long story")
        return x @ x


def test_a_failed_trace_is_a_finding():
    model = Moody()
    check = crosscheck(model, count(model, (3, 4, 4)))
    assert (check.macs_fvcore, check.difference) == (None, None)
    assert check.finding == "not cross-checked: fvcore cannot trace the model: not now"


def test_large_images_are_checked_smaller(monkeypatch):
    model = timm.create_model("resnet10t")
    counts = count(model, (3, 256, 320))
    monkeypatch.setattr(module, "MOST_MACS", counts.macs / 3)
    check = crosscheck(model, counts)
    assert check.input_size == (3, 128, 160)
    assert check.macs == count(model, (3, 128, 160)).macs == check.macs_fvcore


def test_the_model_is_untouched():
    model = timm.create_model("resnet10t").train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    generator = torch.get_rng_state()
    fvcore_macs(model, (3, 64, 64))
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.equal(generator, torch.get_rng_state())


def test_meta_models_are_checked_without_their_weights():
    with torch.device("meta"):
        model = timm.create_model("resnet10t")
    assert crosscheck(model, count(model, (3, 64, 64))).difference == 0.0


def test_without_fvcore_its_absence_is_said_and_the_count_stands(monkeypatch: pytest.MonkeyPatch):
    model = timm.create_model("resnet10t")
    counts = count(model, (3, 64, 64))
    monkeypatch.setitem(sys.modules, "fvcore.nn", None)
    check = crosscheck(model, counts)
    assert (check.macs, check.macs_fvcore, check.difference) == (counts.macs, None, None)
    assert check.finding.startswith(
        "not cross-checked: fvcore cannot be imported: import of fvcore.nn halted"
    )


def test_nothing_imports_fvcore_but_the_cross_check():
    program = (
        "import sys, hmhsa_insert.costs.profile, hmhsa_insert.studies.ablate; print('fvcore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

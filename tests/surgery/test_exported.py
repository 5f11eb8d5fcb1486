"""A module that torch.export made: its stages are those of the network it was made from, and edits of it are exact."""

from __future__ import annotations

import timm
import torch
from edits import insert, recipe

import hmhsa_insert as hi
from hmhsa_insert.surgery.locate.stages import locate

SIZE = (3, 64, 64)


def test_an_exported_network_has_the_stages_of_its_own_network() -> None:
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=5).eval()
    x = torch.randn(2, *SIZE)
    exported = torch.export.export(network, (x,)).module()
    ours, theirs = ([(s.stride, s.channels) for s in locate(m, SIZE).stages] for m in (exported, network))
    assert ours == theirs
    edited = hi.apply(exported, recipe(insert({"stage": "all"})), SIZE)
    assert len(hi.plan(exported, recipe(insert({"stage": "all"})), SIZE).sites) == 4
    assert torch.equal(edited(x), exported(x))
    assert all(check.passed for check in hi.verify(exported, edited, SIZE))

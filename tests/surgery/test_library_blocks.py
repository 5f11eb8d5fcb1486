"""Blocks of other libraries in networks: exact identity, saved, loaded and removed bit for bit, planned as profiled."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.blocks import ROWS, block_type
from hmhsa_insert.costs.count import count
from hmhsa_insert.errors import BlockError

# Maps of 14×14 at the end of stage 3, which are those of most windows.
SIZE = (3, 224, 224)
NETWORKS = ("resnet18", "mobilenetv2_100", "convnext_atto")
OPTIONS = {"timm/halo": {"block_size": 7}}
TOGETHER = 12


def there(name: str) -> bool:
    """Return True if the installed library has the block."""
    try:
        return block_type(name) is not None
    except BlockError:
        return False


NAMES = [name for name in ROWS if there(name)]
PARTS = [NAMES[first : first + TOGETHER] for first in range(0, len(NAMES), TOGETHER)]
SAMPLE = ["timm/swin", "timm/levit_attention", "timm/vit_block", "torchvision/deform_conv", "timm/convnext"]
MATRIX = [pytest.param("resnet18", SAMPLE, id="sample")] + [
    pytest.param(network, part, marks=pytest.mark.long, id=f"{network}-{place}")
    for network in NETWORKS
    for place, part in enumerate(PARTS)
]


@pytest.mark.parametrize(("network", "names"), MATRIX)
def test_blocks_one_after_another(network, names, tmp_path):
    """Insert some blocks behind each other at one site, each of which is checked by itself."""
    model, image = timm.create_model(network, num_classes=10), torch.randn(2, *SIZE)
    edits = [
        {
            "op": "insert",
            "id": f"it{place}",
            "at": {"stage": 3, "block": "last"},
            "init": "identity",
            "block": {"type": name, **OPTIONS.get(name, {})},
        }
        for place, name in enumerate(names)
    ]
    recipe = {"version": 1, "edits": edits}
    sites = hi.plan(model, recipe, input_size=SIZE).sites
    edited = hi.apply(model, recipe, input_size=SIZE)
    same_as_base(edited, model, image, [f"{site.key}.gamma" for site in sites])

    before, after = count(model, SIZE), count(edited, SIZE)
    assert after.unknown_ops == ()
    assert after.macs - before.macs == sum(site.macs for site in sites)
    for site in sites:  # as each is profiled: γ with its block
        assert after.under(site.key).num_params == site.num_params, site.block
        assert after.under(site.key).macs == site.macs, site.block

    for parameter in edited.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    loaded = hi.load(hi.save(edited, tmp_path / "saved")).eval()
    with torch.no_grad():
        assert torch.equal(loaded(image), edited.eval()(image))
    removed = hi.remove(loaded).state_dict()
    assert removed.keys() == model.state_dict().keys()
    for key, value in hi.base_state_dict(edited).items():
        assert torch.equal(value, removed[key])


def same_as_base(edited: nn.Module, model: nn.Module, image: torch.Tensor, gammas: list[str]) -> None:
    """Assert that both return the same, bit for bit, in eval mode and in train mode, until a block's γ is not zero."""
    with torch.no_grad():
        assert torch.equal(edited.eval()(image), model.eval()(image))
        outputs = []
        for network in (hi.remove(edited), edited):
            torch.manual_seed(0)
            outputs.append(network.train()(image))
        assert torch.equal(*outputs)
        expected = edited.eval()(image)  # training moved the statistics of batch norms
        for name in gammas:
            gamma = edited.get_parameter(name)
            gamma.fill_(1.0)
            assert not torch.equal(edited(image), expected), name
            gamma.zero_()

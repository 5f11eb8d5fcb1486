"""Rows per module: whose cost is whose, and that nothing is lost between them."""

from __future__ import annotations

import timm
from cost_nets import assert_rows_add_up
from torch import Tensor, nn

from hmhsa_insert.costs.count import count


def test_rows_group_into_stages():
    counts = count(timm.create_model("resnet18"))
    stages = [counts.under(f"layer{stage}") for stage in (1, 2, 3, 4)]
    rest = counts.under("conv1", "bn1", "act1", "maxpool", "global_pool", "fc")
    assert sum(row.macs for row in (*stages, rest)) == counts.macs
    assert sum(row.num_params for row in (*stages, rest)) == counts.num_params
    assert counts.under("layer1", "layer1.0").macs == stages[0].macs
    assert counts.under("").macs == counts.macs
    # layer1 must not take layer10's cost.
    assert counts.under("layer").macs == 0


class Spliced(nn.Conv2d):
    """A module with a block that runs in a hook of it, as a splice does."""


def _run_block(module: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
    return output + module.block(output)


def test_a_block_run_by_a_hook_has_its_own_row():
    model = nn.Sequential(Spliced(3, 8, 3, padding=1), nn.ReLU())
    model[0].block = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1))
    model[0].register_forward_hook(_run_block)
    counts = count(model, (3, 10, 10))
    macs = {row.name: row.macs for row in counts.by_module}
    assert macs["0"] == 100 * 3 * 8 * 9
    assert macs["0.block.0"] == macs["0.block.1"] == 100 * 64
    assert counts.under("0.block").macs == 2 * 100 * 64
    assert_rows_add_up(counts)


def test_shared_modules_and_tied_parameters_count_once_as_parameters():
    conv = nn.Conv2d(4, 4, 1, bias=False)
    tied = nn.Conv2d(4, 4, 1, bias=False)
    tied.weight = conv.weight
    counts = count(nn.Sequential(conv, conv, tied), (4, 5, 5))
    assert counts.num_params == 16
    assert counts.macs == 3 * 25 * 16
    rows = {row.name: row for row in counts.by_module}
    assert (rows["0"].calls, rows["0"].macs, rows["2"].num_params) == (2, 2 * 25 * 16, 0)
    assert_rows_add_up(counts)

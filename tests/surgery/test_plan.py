"""Selectors on real structure, refusals with their reasons, lock files."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from edits import SIZE, insert, recipe, sampled
from nets import CalledTwice, Parallel, Plain

import hmhsa_insert as hi
from hmhsa_insert.surgery.apply import apply_plan
from hmhsa_insert.surgery.sites.site import Plan


@pytest.fixture(scope="module")
def resnet() -> torch.nn.Module:
    with torch.device("meta"):
        return timm.create_model("resnet18")


def where(plan: Plan) -> list[str]:
    return [site.qualname for site in plan.sites]


@pytest.mark.parametrize(
    ("at", "wanted"),
    [
        ({"stage": 3}, ["layer3.1"]),
        ({"stage": [1, 4]}, ["layer1.1", "layer4.1"]),
        ({"stage": "all"}, ["layer1.1", "layer2.1", "layer3.1", "layer4.1"]),
        ({"stride": 8, "block": "first"}, ["layer2.0"]),
        ({"stage": 2, "block": "each"}, ["layer2.0", "layer2.1"]),
        ({"stage": 2, "block": [-2]}, ["layer2.0"]),
        ({"stage": [2, 3], "block": {"every": 2}}, ["layer2.1", "layer3.1"]),
        ({"stage": "all", "exclude": "layer[12].*"}, ["layer3.1", "layer4.1"]),
        ({"module": "layer2.*"}, ["layer2.0", "layer2.1"]),
        ({"class": "BasicBlock", "in_stage": 4}, ["layer4.0", "layer4.1"]),
        ({"class": "Conv2d", "with": {"kernel_size": 7}}, ["conv1"]),
        ({"node": "layer3_0_act2_relu"}, ["layer3.0"]),
        ({"stage": 3, "expect": 1}, ["layer3.1"]),
    ],
)
def test_selectors(resnet, at, wanted) -> None:
    assert where(hi.plan(resnet, recipe(insert(at)))) == wanted


@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        (
            insert({"stage": 5}),
            "no stage 5: the network's stages are 0, 1, 2, 3, 4 (strides 2, 4, 8, 16, 32)",
        ),
        (
            insert({"stage": 1, "block": [2]}),
            "stage 1 (stride 4): there is no block 2: its blocks are 0 to 1",
        ),
        (insert({"stage": 3, "expect": 2}), "expected 2 sites, found 1"),
        (insert({"module": "layer9.*"}), "no module is named 'layer9.*'"),
        (insert({"class": "BasicBlok"}), "no module of class 'BasicBlok' (did you mean 'BasicBlock'?)"),
        (insert({"module": "fc"}), "the output of 'fc' is not one feature map: it returns 1000"),
        (insert({"node": "relu"}), "node 'relu' does not exist"),
        (
            insert({"stage": 1}, {"type": "hmhsa", "head_dim": 48, "grids": "auto"}),
            "at 'layer1.1': head_dim 48 does not divide 64 channels",
        ),
        (insert({"stage": 1}, {"type": "tdb"}), "'tdb' halves the map and cannot be inserted"),
        (insert({"stage": 1}, {"type": "silu"}), "'silu' takes the place of a module and cannot be inserted"),
        (
            {
                "op": "replace",
                "id": "x",
                "at": {"class": "BasicBlock"},
                "block": {"type": "mhsa", "head_dim": 8},
            },
            "'layer2.0' turns 64×56×56 into 128×28×28, and 'mhsa' keeps the shape",
        ),
        (
            {"op": "remove", "id": "x", "at": {"module": "fc"}},
            "'fc' takes 512 and returns 1000: nothing can stand in for it",
        ),
        (
            {"op": "replace", "id": "x", "at": {"downsample": 7}, "block": {"type": "tdb"}},
            "no downsampling into stage 7: no stage 7",
        ),
        (
            {"op": "replace", "id": "x", "at": {"downsample": 2}, "block": {"type": "mhsa"}},
            "'mhsa' keeps the size and cannot lead into a stage",
        ),
        (
            insert({"stage": 4}, {"type": "timm/halo"}),
            "timm's 'halo' needs a height and width that are multiples of its block_size 8; the map is 7×7",
        ),
        (
            insert({"stage": 2}, {"type": "matched", "of": {"type": "timm/se"}}),
            "at 'layer2.1': no convolution block costs as little as timm/se does on 128×28×28",
        ),
        (
            insert({"stage": 2}, {"type": "placebo", "of": {"type": "hmhsa", "head_dim": 48}}),
            "at 'layer2.1': head_dim 48 does not divide 128 channels",
        ),
        (insert({"stage": 3}, id="conv1"), "'layer3.1' already has a 'conv1'"),
    ],
)
def test_refusals_say_what_and_where(resnet, edit, wanted) -> None:
    with pytest.raises(hi.HmhsaInsertError) as caught:
        hi.plan(resnet, recipe(edit))
    assert wanted in str(caught.value)
    assert caught.value.problems[0].where.startswith("recipe.edits[0]")


def test_all_refusals_of_a_plan_come_together(resnet) -> None:
    bad = (insert({"stage": 5}), insert({"stage": 1}, {"type": "hmhsa", "head_dim": 48}, id="b"))
    with pytest.raises(hi.PlanError) as caught:
        hi.plan(resnet, recipe(*bad, insert({"stage": 2}, id="c")))
    assert [problem.where.split("]")[0] for problem in caught.value.problems] == [
        "recipe.edits[0",
        "recipe.edits[1",
    ]


def test_overlapping_replacements_are_refused(resnet) -> None:
    first = {"op": "replace", "id": "a", "at": {"class": "ReLU"}, "block": {"type": "silu"}}
    again = {"op": "remove", "id": "b", "at": {"module": "layer1.0.act1"}}
    with pytest.raises(hi.PlanError, match=r"'layer1\.0\.act1' is taken by edit 'a' already"):
        hi.plan(resnet, recipe(first, again))


def test_an_insert_inside_what_is_taken_away_is_refused(resnet) -> None:
    tdb = {"op": "replace", "id": "a", "at": {"downsample": 2}, "block": {"type": "tdb"}}
    inside = insert({"module": "layer2.0.bn1"})
    with pytest.raises(hi.PlanError, match=r"its map is made inside 'layer2\.0', which edit 'a' takes away"):
        hi.plan(resnet, recipe(tdb, inside))


def test_parallel_branches_are_refused_with_the_reason() -> None:
    with pytest.raises(hi.PlanError, match="maps of stride 8 exist, but not every path passes through one"):
        hi.plan(Parallel(), recipe(insert({"stage": 2})), SIZE)


def test_tokens_are_refused_with_the_reason() -> None:
    with torch.device("meta"):
        vit = timm.create_model("mvitv2_tiny")
    with pytest.raises(hi.PlanError, match="at stride 8 it works on token sequences"):
        hi.plan(vit, recipe(insert({"stage": 2})))


def test_a_module_that_runs_twice_cannot_be_named() -> None:
    with pytest.raises(hi.PlanError, match="'shared' is called 2 times in one forward: a site is one call"):
        hi.plan(CalledTwice(), recipe(insert({"module": "shared"})), SIZE)


def test_a_plan_is_rehearsed_before_it_exists() -> None:
    class Reads(Plain):
        def forward(self, x):
            assert self.stem[0].weight is not None
            return super().forward(x)

    remove = {"op": "replace", "id": "x", "at": {"module": "stem.0"}, "block": {"type": "downsample"}}
    with pytest.raises(hi.PlanError, match="the edited network fails on an input of 3×64×64"):
        hi.plan(Reads(), recipe(remove), SIZE)


def test_a_plan_is_predicted_exactly_and_replays_from_its_lock_file(resnet) -> None:
    base = timm.create_model("resnet18").eval()
    plan = hi.plan(resnet, "every_block.yaml")
    edited = hi.apply(base, "every_block.yaml")
    new = sum(p.numel() for p in edited.parameters()) - sum(p.numel() for p in base.parameters())
    assert new == sum(site.num_params for site in plan.sites)
    written = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert written == plan
    replayed = apply_plan(base, written)
    assert all(torch.equal(v, edited.state_dict()[k]) for k, v in replayed.state_dict().items())


@pytest.mark.parametrize(("init", "gamma"), [("identity", 32), ("random", 0)])
def test_the_cost_of_one_block_by_hand(init: str, gamma: int) -> None:
    """32 channels at 8×8: two kernels of 1×1, one of 3×3 for each channel; three norms of scale and shift."""
    block = {"type": "irb", "expansion": 1, "kernel_size": 3}
    plan = hi.plan(Plain(), recipe(insert({"stage": 2}, block, init=init)), SIZE)
    ((params, macs),) = [(site.num_params, site.macs) for site in plan.sites]
    assert params == 2 * 32 * 32 + 9 * 32 + 3 * 2 * 32 + gamma
    assert macs == (2 * 32 * 32 + 9 * 32) * 8 * 8


@pytest.mark.parametrize(
    "name", sampled(["stage3", "stage234", "every_block", "bottleneck", "tdb", "se"], "stage3")
)
def test_shipped_recipes_fit_the_networks_they_are_for(name: str) -> None:
    for network in ("resnet50", "mobilenetv2_100", "irb_tiny"):
        if name == "bottleneck" and network != "resnet50":
            continue
        with torch.device("meta"):
            model = timm.create_model(network)
        assert hi.plan(model, f"{name}.yaml").sites

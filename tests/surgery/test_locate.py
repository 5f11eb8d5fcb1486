from __future__ import annotations

import copy

import pytest
import timm
import torch
import torchvision
from nets import (
    CalledTwice,
    ChannelsLast,
    ControlFlow,
    DictOut,
    InForward,
    Parallel,
    Plain,
    TupleOut,
    UNet,
)
from torch import Tensor, nn

import hmhsa_insert as hi
from hmhsa_insert.surgery.locate.stages import locate


def ends(model: nn.Module, size=(3, 64, 64)):
    return [(s.index, s.stride, s.channels, s.cut_points[-1].qualname) for s in hi.locate_stages(model, size)]


def test_resnet50_of_both_libraries_has_the_papers_stages() -> None:
    for model, stem in ((timm.create_model("resnet50"), "act1"), (torchvision.models.resnet50(), "relu")):
        stages = hi.locate_stages(model)
        assert [s.index for s in stages] == [0, 1, 2, 3, 4]
        assert [s.stride for s in stages] == [2, 4, 8, 16, 32]
        assert [s.channels for s in stages] == [64, 256, 512, 1024, 2048]
        assert [s.height for s in stages] == [112, 56, 28, 14, 7]
        names = [[p.qualname for p in s.cut_points] for s in stages]
        assert names[0] == [stem]
        for number, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
            assert names[number] == [f"layer{number}.{i}" for i in range(blocks)]
        assert stages[1].entry is not None
        assert stages[1].entry.qualname == "maxpool"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mobilenetv2_100", ["blocks.0.0", "blocks.1.1", "blocks.2.2", "blocks.4.2", "blocks.6.0"]),
        ("efficientnet_b0", ["blocks.0.0", "blocks.1.1", "blocks.2.1", "blocks.4.2", "blocks.6.0"]),
        (
            "convnext_atto",
            ["stages.0.blocks.1", "stages.1.blocks.1", "stages.2.blocks.5", "stages.3.blocks.1"],
        ),
        ("regnety_002", ["stem", "s1.b1", "s2.b1", "s3.b4", "s4.b7"]),
        ("mobilenetv4_conv_small", ["bn1", "blocks.0.1", "blocks.1.1", "blocks.2.5", "blocks.3.5"]),
    ],
)
def test_stage_ends_are_block_ends_and_not_the_expansion_before_the_next_stride(name, wanted) -> None:
    assert [s.cut_points[-1].qualname for s in hi.locate_stages(timm.create_model(name))] == wanted


def test_a_head_convolution_is_no_part_of_the_last_stage() -> None:
    assert ends(torchvision.models.mobilenet_v2(), (3, 224, 224))[-1] == (4, 32, 320, "features.17")


def test_a_separate_downsampling_step_is_the_entry_and_no_block() -> None:
    stages = hi.locate_stages(timm.create_model("convnext_atto"))
    assert [s.entry.qualname if s.entry else None for s in stages[1:]] == [
        f"stages.{i}.downsample.1" for i in (1, 2, 3)
    ]


def test_two_convolutions_side_by_side_that_only_halve_the_map_are_no_block() -> None:
    with torch.device("meta"):
        stages = hi.locate_stages(timm.create_model("transcnn_tiny"))
    assert [s.entry.qualname if s.entry else None for s in stages[2:]] == ["ds2", "ds3", "ds4"]
    assert [[p.qualname for p in s.cut_points] for s in stages[2:]] == [
        [f"blocks.{stage}.{block}" for block in range(blocks)] for stage, blocks in ((1, 2), (2, 4), (3, 2))
    ]


def test_dense_blocks_are_found_though_their_end_is_inside_a_forward() -> None:
    stages = hi.locate_stages(timm.create_model("densenet121"))
    assert [s.channels for s in stages] == [64, 256, 512, 1024, 1024]
    assert stages[2].cut_points[-1].host is None


@pytest.mark.parametrize("network", [Plain, ControlFlow])
def test_a_users_own_network(network) -> None:
    assert ends(network()) == [
        (0, 2, 16, "stem.2"),
        (1, 4, 16, "stages.0.1"),
        (2, 8, 32, "stages.1.1"),
        (3, 16, 64, "stages.2.1"),
    ]


def test_an_image_of_one_channel_that_is_not_square() -> None:
    stages = hi.locate_stages(Plain(channels=1), (1, 96, 160))
    assert [(s.height, s.width) for s in stages] == [(48, 80), (24, 40), (12, 20), (6, 10)]


def test_named_inputs_and_a_dict_out() -> None:
    stages = hi.locate_stages(DictOut(), {"image": (3, 64, 64), "scale": (3,)})
    assert [s.stride for s in stages] == [2, 4, 8, 16]


def test_nhwc_maps_are_told_from_nchw() -> None:
    (stage,) = hi.locate_stages(ChannelsLast(), (3, 64, 96))
    assert [p.qualname for p in stage.cut_points] == ["blocks.0", "blocks.1", "blocks.2"]
    assert {p.layout for p in stage.cut_points} == {"NHWC"}
    assert (stage.channels, stage.height, stage.width) == (32, 16, 24)


def test_a_module_that_runs_twice_is_no_host() -> None:
    last = hi.locate_stages(CalledTwice(), (3, 64, 64))[-1]
    assert [p.host is None for p in last.cut_points[-2:]] == [True, True]


def test_a_map_computed_in_a_forward_and_one_in_a_tuple() -> None:
    (stage,) = hi.locate_stages(InForward(), (3, 64, 64))
    assert stage.cut_points[-1].host is None
    (stage,) = hi.locate_stages(TupleOut(), (3, 64, 64))
    host = stage.cut_points[-1].host
    assert host is not None
    assert (host.qualname, host.path) == ("body", (0,))


def test_the_encoder_of_a_unet_has_the_stages() -> None:
    stages = hi.locate_stages(UNet(), (3, 64, 64))
    assert [s.stride for s in stages] == [1, 2, 4, 8]
    assert [s.channels for s in stages] == [8, 16, 32, 64]
    assert [s.cut_points[-1].qualname.split(".")[:2] for s in stages] == [
        ["encoder", str(i)] for i in range(4)
    ]


def test_parallel_branches_have_no_stage() -> None:
    assert [s.stride for s in hi.locate_stages(Parallel(), (3, 64, 64))] == [4]


def test_every_cut_point_lies_on_every_path() -> None:
    """Cut the edges that leave a cut point: no path from input to output may be left."""
    located = locate(timm.create_model("efficientnet_b0"), (3, 64, 64))
    nodes = {node.name: node for node in located.trace.nodes}
    output = located.trace.graph.output_node()
    for point in located.all_cut_points:
        front, seen = [located.trace.nodes[0]], set()
        while front:
            node = front.pop()
            assert node is not output
            for user in node.users:
                if user not in seen and node is not nodes[point.node]:
                    seen.add(user)
                    front.append(user)


def test_the_model_is_left_as_it_was() -> None:
    model = CalledTwice().train()
    model.stages[0].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    attributes = [set(m.__dict__) for m in model.modules()]
    state = torch.random.get_rng_state()
    hi.locate_stages(model, (3, 64, 64))
    assert torch.equal(state, torch.random.get_rng_state())
    assert [m.training for m in model.modules()] == modes
    assert [set(m.__dict__) for m in model.modules()] == attributes
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(type(t) in (torch.Tensor, nn.Parameter) for t in (*model.parameters(), *model.buffers()))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_nothing_is_allocated_for_weights() -> None:
    with torch.device("meta"):
        model = timm.create_model("resnet18")
    assert len(hi.locate_stages(model)) == 5
    assert all(p.is_meta for p in model.parameters())


def test_wrapped_models_are_refused_with_the_reason() -> None:
    for wrapped, word in (
        (nn.DataParallel(Plain()), "inner model"),
        (torch.compile(Plain(), backend="eager"), "compile the result"),
        (torch.jit.trace(Plain().eval(), torch.randn(1, 3, 64, 64)), "scripted model"),
    ):
        with pytest.raises(hi.ModelError, match=word):
            hi.locate_stages(wrapped, (3, 64, 64))


def test_a_size_the_network_does_not_take_is_said() -> None:
    with pytest.raises(hi.ModelError, match="its forward failed on an input of 1×64×64"):
        hi.locate_stages(Plain(), (1, 64, 64))


def test_a_deep_copy_is_not_needed_to_be_equal() -> None:
    model = Plain()
    assert ends(model) == ends(copy.deepcopy(model))


def test_a_module_that_reads_its_map_again_does_not_host() -> None:
    """A hook on its output would come after the reader."""

    class WithHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act, self.head = nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.act(self.conv(x))
            return y, self.head(y.mean((2, 3)))

    class Net(nn.Module):
        def __init__(self, stage: nn.Module) -> None:
            super().__init__()
            self.stage = stage
            self.last = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            y, scores = self.stage(x)
            return scores + self.last(y.mean((2, 3)))

    (stage,) = hi.locate_stages(Net(WithHead()), (3, 32, 32))
    assert stage.cut_points[-1].qualname == "stage.act"

"""The backbone ends before the resolution grows again, whichever of its maps are read from there; then comes a neck."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from edits import insert, recipe
from nets import UNet
from torch import Tensor, nn

import hmhsa_insert as hi
from hmhsa_insert.costs.parts import stage_parts

Ends = list[tuple[int | None, str]]
BACKBONE: Ends = [(0, "stem.2"), (1, "p2.1.2"), (2, "p3.1.2"), (3, "p4.1.2"), (4, "p5.1.2")]
IRB = {"type": "irb", "expansion": 1, "kernel_size": 3}


def _layer(inp: int, out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inp, out, 3, stride, 1), nn.BatchNorm2d(out), nn.SiLU())


def _stage(inp: int, out: int) -> nn.Sequential:
    return nn.Sequential(_layer(inp, out, 2), _layer(out, out))


class Detector(nn.Module):
    """A YOLO in small: up from the deepest map, down again, and all levels' predictions in one tensor."""

    def __init__(self, levels: tuple[int, ...] = (0, 1, 2)) -> None:
        super().__init__()
        self.levels = levels
        self.stem = _layer(3, 8, 2)
        self.p2, self.p3, self.p4, self.p5 = _stage(8, 8), _stage(8, 16), _stage(16, 16), _stage(16, 16)
        self.up4, self.up3 = _layer(32, 16), _layer(32, 16)
        self.to4, self.join4 = _layer(16, 16, 2), _layer(32, 16)
        self.to5, self.join5 = _layer(16, 16, 2), _layer(32, 16)
        self.heads = nn.ModuleList(nn.Conv2d(16, 4, 1) for _ in levels)

    def forward(self, x: Tensor) -> Tensor:
        p3 = self.p3(self.p2(self.stem(x)))
        p4 = self.p4(p3)
        p5 = self.p5(p4)
        n4 = self.up4(torch.cat([F.interpolate(p5, scale_factor=2), p4], 1))
        n3 = self.up3(torch.cat([F.interpolate(n4, scale_factor=2), p3], 1))
        m4 = self.join4(torch.cat([self.to4(n3), n4], 1))
        m5 = self.join5(torch.cat([self.to5(m4), p5], 1))
        maps = (n3, m4, m5)
        predicted = [
            head(maps[level]).flatten(2) for head, level in zip(self.heads, self.levels, strict=True)
        ]
        return torch.cat(predicted, 2)


class Block(nn.Module):
    """One block of a residual network, on one map or on a small one and a large one."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.first, self.second, self.skip = _layer(inp, out), _layer(out, out), nn.Conv2d(inp, out, 1)

    def forward(self, x: Tensor, side: Tensor | None = None) -> Tensor:
        x = x if side is None else torch.cat([F.interpolate(x, scale_factor=2), side], 1)
        return self.second(self.first(x)) + self.skip(x)


class TwoLevels(nn.Module):
    """One way up to stride 8 and down to stride 16 again: every stride is on the way to the deepest map of the neck."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.p2, self.p3, self.p4 = _layer(3, 8, 2), _stage(8, 8), _stage(8, 16), _stage(16, 16)
        self.up3, self.to4, self.join4 = Block(32, 16), _layer(16, 16, 2), Block(32, 16)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        p3 = self.p3(self.p2(self.stem(x)))
        p4 = self.p4(p3)
        n3 = self.up3(p4, p3)
        return n3, self.join4(torch.cat([self.to4(n3), p4], 1))


class StemUp(nn.Module):
    """A stem that goes down to a quarter and up to a half, before the stages of a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_layer(3, 8, 2), _layer(8, 8, 2))
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)
        self.p2, self.p3, self.p4 = _stage(8, 8), _stage(8, 16), _stage(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.p4(self.p3(self.p2(self.up(self.stem(x))))).mean((2, 3))


class Hourglass(nn.Module):
    """A block that goes down and up again inside, beside a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = _layer(channels, channels, 4), nn.ConvTranspose2d(channels, channels, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(self.down(x))


class UpInside(nn.Module):
    """A classifier whose blocks go up inside: they are the backbone's, and there is no neck."""

    def __init__(self) -> None:
        super().__init__()
        pairs = ((3, 8), (8, 8), (8, 16))
        self.stages = nn.Sequential(*(nn.Sequential(_layer(a, b, 2), Hourglass(b)) for a, b in pairs))

    def forward(self, x: Tensor) -> Tensor:
        return self.stages(x).mean((2, 3))


class Branches(nn.Module):
    """Branches that feed each other up and down: no map of stride 8 is on every way to stride 16."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_layer(3, 8, 2), _layer(8, 8, 2))
        self.near, self.far, self.down = _layer(8, 8, 2), _layer(8, 8, 4), _layer(8, 8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        half = self.near(x)
        deep = self.far(x) + self.down(half)
        half = half + F.interpolate(deep, scale_factor=2)
        return torch.cat([half.mean((2, 3)), deep.mean((2, 3))], 1)


class SuperResolution(nn.Module):
    """Blocks at the image's own stride, and twice its size out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = _layer(3, 8), _layer(8, 8)
        self.up = nn.Sequential(nn.Conv2d(8, 12, 3, 1, 1), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.second(self.first(x)))


def ends(model: nn.Module, part: str = "backbone") -> Ends:
    found = hi.locate_stages(model, (3, 128, 128), part=part)
    assert {stage.part for stage in found} <= {part}
    return [(stage.index, stage.cut_points[-1].qualname) for stage in found]


@pytest.mark.parametrize("levels", [(0, 1, 2), (2,), (1, 2)])
def test_paths_that_pass_by_a_stride_hide_no_stage_of_the_backbone(levels: tuple[int, ...]) -> None:
    model = Detector(levels)
    assert ends(model) == BACKBONE
    assert ends(model, "neck") == [(3, "up4.2"), (2, "up3.2"), (3, "join4.2"), (4, "join5.2")]


def test_the_deepest_stage_ends_in_the_backbone_though_the_neck_reaches_its_stride() -> None:
    assert ends(TwoLevels()) == BACKBONE[:4]
    assert ends(TwoLevels(), "neck") == [(2, "up3"), (3, "join4")]


def test_a_unet_has_its_encoders_stages_and_its_decoders() -> None:
    assert [name.split(".")[:2] for _, name in ends(UNet())] == [["encoder", str(i)] for i in range(4)]
    assert [(index, name.split(".")[:2]) for index, name in ends(UNet(), "neck")] == [
        (1, ["decoder", "0"]),
        (0, ["decoder", "1"]),
        (-1, ["decoder", "2"]),
    ]


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        (StemUp, [(0, "stem.0.2"), (1, "stem.1.2"), (0, "up"), (1, "p2.1.2"), (2, "p3.1.2"), (3, "p4.1.2")]),
        (UpInside, [(0, "stages.0.1"), (1, "stages.1.1"), (2, "stages.2.1")]),
        (SuperResolution, [(-1, "up.0")]),
        (Branches, [(0, "stem.0.2"), (1, "stem.1.2")]),
    ],
)
def test_a_network_that_upsamples_on_its_way_down_is_a_backbone(
    network: Callable[[], nn.Module], wanted: Ends
) -> None:
    assert ends(network()) == wanted
    assert ends(network(), "neck") == ([(2, "")] if network is Branches else [])


def test_a_network_of_parallel_branches_is_a_backbone() -> None:
    with torch.device("meta"):
        model = timm.create_model("hrnet_w18_small")
    found = hi.locate_stages(model, (3, 224, 224))
    assert [(stage.index, stage.cut_points[-1].qualname) for stage in found] == [
        (0, "act1"),
        (1, "layer1.0"),
        (4, ""),  # a sum in the network's own forward
    ]
    assert hi.locate_stages(model, (3, 224, 224), part="neck") == ()


@pytest.mark.parametrize(("number", "name"), [(1, "up4.2"), (2, "up3.2"), (3, "join4.2"), (4, "join5.2")])
def test_a_stage_of_the_neck_is_edited_by_its_number(number: int, name: str) -> None:
    base = Detector()
    edited = hi.apply(base, recipe(insert({"neck": number}, IRB)), (3, 64, 64))
    assert [key for key, _ in edited.named_modules() if key.endswith(".added")] == [f"{name}.added"]
    assert [check.name for check in hi.verify(base, edited) if not check.passed] == []
    restored = hi.remove(edited).state_dict()
    assert all(torch.equal(restored[key], value) for key, value in base.state_dict().items())


def test_all_stages_of_the_neck_are_selected() -> None:
    sites = hi.plan(Detector(), recipe(insert({"neck": "all"}, IRB)), (3, 64, 64)).sites
    assert [(site.qualname, site.inp.stride) for site in sites] == [
        ("up4.2", 16), ("up3.2", 8), ("join4.2", 16), ("join5.2", 32),
    ]  # fmt: skip


def test_before_a_block_of_the_neck_that_reads_two_maps_nothing_is_inserted() -> None:
    model = TwoLevels()
    sites = hi.plan(model, recipe(insert({"neck": 2}, IRB, position="before")), (3, 64, 64)).sites
    assert [(site.qualname, site.inp.channels, site.inp.stride) for site in sites] == [("join4", 32, 16)]
    with pytest.raises(
        hi.PlanError, match="what 'up3' begins with is not one feature map that it alone reads"
    ):
        hi.plan(model, recipe(insert({"neck": 1}, IRB, position="before")), (3, 64, 64))


def test_a_number_that_no_stage_of_the_neck_has_is_refused() -> None:
    with pytest.raises(hi.PlanError, match=r"no stage 5 in a neck: its stages are 1 to 4"):
        hi.plan(Detector(), recipe(insert({"neck": 5}, IRB)), (3, 64, 64))
    with pytest.raises(hi.PlanError, match=r"no neck: its resolution nowhere grows again"):
        hi.plan(StemUp(), recipe(insert({"neck": "all"}, IRB)), (3, 64, 64))


def test_a_profile_counts_the_stages_of_the_neck() -> None:
    parts = stage_parts(Detector().eval(), (3, 64, 64))
    assert parts["stage 4"] == ("p5",)
    assert {name: modules for name, modules in parts.items() if name.startswith("neck")} == {
        "neck 1": ("up4",),
        "neck 2": ("up3",),
        "neck 3": ("to4", "join4"),
        "neck 4": ("to5", "join5"),
    }

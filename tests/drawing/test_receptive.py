"""Receptive fields by structure, against what spreads from a pixel that is not a number."""

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

import hmhsa_insert as hi
from hmhsa_insert.blocks import build_block
from hmhsa_insert.drawing.receptive import receptive_fields
from hmhsa_insert.surgery.locate.stages import locate

SIDE = 48


class Made(nn.Module):
    """A network that is one function of an image, with the modules it uses."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def field_of(net, side=SIDE):
    located = locate(net.eval(), (3, side, side))
    (made,) = located.trace.graph.output_node().args[0]
    return receptive_fields(net, located, [made.name])[made.name]


def measured(net, side=SIDE):
    """Return rows and columns that the centre of the output depends on, by making each row and column NaN in turn."""
    found = []
    for axis in (2, 3):
        images = torch.rand(side, 3, side, side, dtype=torch.float64)  # whose convolutions are plain sums
        for place in range(side):
            images[place].select(axis - 1, place).fill_(torch.nan)
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
            made = net.double().eval()(images)
        at = made[:, :, made.shape[2] // 2, made.shape[3] // 2].isnan().any(1).nonzero().flatten()
        first, last = at.min().item(), at.max().item()
        found.append(None if (first, last) == (0, side - 1) else last - first + 1)
    return tuple(found)


def conv(c_in=3, c_out=4, k=3, **options):
    return nn.Conv2d(c_in, c_out, k, **options)


def _tokens(net, x):
    x = net.a(x)
    tokens = net.fc(net.norm(x.flatten(2).transpose(1, 2)))
    return net.b(tokens.transpose(1, 2).reshape(x.shape))


def _attention(net, x):
    x = net.a(x)
    q = x.flatten(2).transpose(1, 2)
    weights = (q @ q.transpose(1, 2)).softmax(-1)
    return x + (weights @ q).transpose(1, 2).unflatten(2, x.shape[2:])


def _coordinates(net, x):
    x = net.a(x)
    return x * net.b(x.mean(3, keepdim=True)).sigmoid()


def _shuffled(net, x):
    n, c, h, w = (x := net.a(x)).shape
    return net.b(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))


def _last_dims(net, x):
    return net.b(net.fc(F.layer_norm(net.a(x).permute(0, 2, 3, 1), (4,))).permute(0, 3, 1, 2))


NETS = {
    "convolution": (3, 3, nn.Sequential(conv())),
    "not square": (5, 1, nn.Sequential(conv(k=(5, 1), padding=(2, 0)))),
    "strides": (
        11,
        11,
        nn.Sequential(conv(stride=2), nn.ReLU(), conv(4, 4, padding=1), conv(4, 4, stride=2, padding=1)),
    ),
    "dilation": (11, 7, nn.Sequential(conv(dilation=(4, 2), padding="same"), conv(4, 4, padding=(1, 1)))),
    "pools": (5, 5, nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2), conv(3, 4, 1), nn.Hardtanh())),
    "pool without stride": (9, 9, nn.Sequential(nn.MaxPool2d(3), conv(padding=1), nn.AvgPool2d(1))),
    "two ways": (
        9,
        9,
        Made(lambda m, x: torch.cat([m.a(x), m.b(x)], 1), a=conv(padding=1), b=conv(k=9, padding=4)),
    ),
    "shortcut": (5, 5, Made(lambda m, x: m.a(x) + m.b(m.a(x)), a=conv(padding=1), b=conv(4, 4, padding=1))),
    "nearest": (
        5,
        5,
        nn.Sequential(conv(stride=2, padding=1), nn.Upsample(scale_factor=2), conv(4, 4, padding=1)),
    ),
    "bilinear": (
        5,
        5,
        nn.Sequential(conv(stride=2, padding=1), nn.Upsample(scale_factor=2, mode="bilinear")),
    ),
    "transposed": (5, 5, nn.Sequential(conv(stride=2, padding=1), nn.ConvTranspose2d(4, 4, 4, 2, 1))),
    "reflected": (7, 7, nn.Sequential(conv(k=7, padding=3, padding_mode="reflect"))),
    "pixel shuffle": (3, 3, nn.Sequential(conv(stride=2, padding=1), nn.PixelShuffle(2))),
    "channel shuffle": (5, 5, Made(_shuffled, a=conv(padding=1), b=conv(4, 4, padding=1))),
    "layer norm": (5, 5, Made(_last_dims, a=conv(padding=1), b=conv(4, 4, padding=1), fc=nn.Linear(4, 4))),
    "tokens": (
        5,
        5,
        Made(_tokens, a=conv(padding=1), b=conv(4, 4, padding=1), fc=nn.Linear(4, 4), norm=nn.LayerNorm(4)),
    ),
    "chunks": (3, 3, Made(lambda m, x: torch.mul(*m.a(x).chunk(2, 1)), a=conv(padding=1))),
    "group norm": (None, None, nn.Sequential(conv(padding=1), nn.GroupNorm(1, 4))),
    "statistics of the batch": (
        None,
        None,
        nn.Sequential(conv(padding=1), nn.BatchNorm2d(4, track_running_stats=False)),
    ),
    "instance norm": (None, None, nn.Sequential(conv(padding=1), nn.InstanceNorm2d(4))),
    "instance norm, stored": (
        3,
        3,
        nn.Sequential(conv(padding=1), nn.InstanceNorm2d(4, track_running_stats=True)),
    ),
    "axis": (3, None, Made(lambda m, x: m.a(x).sum(axis=3, keepdims=True) + m.a(x), a=conv(padding=1))),
    "mean of channels": (
        5,
        5,
        Made(lambda m, x: m.b(m.a(x).mean(axis=1, keepdim=True)), a=conv(padding=1), b=conv(1, padding=1)),
    ),
    "bilinear, an odd factor": (
        9,
        9,
        nn.Sequential(conv(stride=2, padding=1), nn.Upsample(scale_factor=1.7, mode="bilinear"), conv(4, 4)),
    ),
    "dynamic convolution": (
        None,
        None,
        Made(lambda m, x: F.conv2d(m.a(x), m.b.weight * m.a(x).mean()), a=conv(padding=1), b=conv(4, 4)),
    ),
    "batch norm": (3, 3, nn.Sequential(conv(padding=1), nn.BatchNorm2d(4))),
    "squeeze": (
        None,
        None,
        Made(
            lambda m, x: m.a(x) * m.b(m.a(x).mean((2, 3), keepdim=True)).sigmoid(),
            a=conv(padding=1),
            b=conv(4, 4, 1),
        ),
    ),
    "adaptive pool": (
        None,
        None,
        Made(lambda m, x: m.a(x) + F.adaptive_avg_pool2d(m.a(x), 1), a=conv(padding=1)),
    ),
    "one axis": (3, None, Made(_coordinates, a=conv(padding=1), b=conv(4, 4, 1))),
    "attention": (None, None, Made(_attention, a=conv(padding=1, stride=2))),
    "mhsa": (
        None,
        None,
        nn.Sequential(
            conv(k=4, stride=4), build_block({"type": "mhsa", "head_dim": 4, "norm": "none"}, 4, 12)
        ),
    ),
    "hmhsa": (
        None,
        None,
        nn.Sequential(
            conv(3, 8, 4, stride=4),
            build_block({"type": "hmhsa", "head_dim": 4, "norm": "batch", "grids": [3, 4]}, 8, 12),
        ),
    ),
    "transcnn": (
        None,
        None,
        nn.Sequential(conv(3, 8, 4, stride=4), build_block({"type": "transcnn", "head_dim": 4}, 8, 12)),
    ),
    "irb": (9, 9, nn.Sequential(conv(k=1), build_block({"type": "irb", "kernel_size": 9}, 4, 48))),
    "tdb": (3, 3, nn.Sequential(conv(k=1), build_block({"type": "tdb"}, 4, 48))),
    "eca": (None, None, nn.Sequential(conv(k=1), build_block({"type": "timm/eca"}, 4, 48))),
}


@pytest.mark.parametrize("name", NETS)
def test_a_field_is_what_a_pixel_reaches(name):
    rows, cols, net = NETS[name]
    torch.manual_seed(0)
    found = field_of(net)
    assert found.unknown == ""
    assert (found.rows, found.cols) == (rows, cols)
    assert measured(net) == (rows, cols)


UNKNOWN = {
    "roll": lambda m, x: torch.roll(m.a(x), 1, 2),
    "a scrambling view": lambda m, x: m.b(
        m.a(x).reshape(len(x), x.shape[2] - 2, x.shape[3] - 2, 4).permute(0, 3, 1, 2)
    ),
    "a kernel cut from a map": lambda m, x: F.conv2d(
        m.a(x), m.a(x)[:2].reshape(4, -1)[:, :36].view(4, 4, 3, 3)
    ),
    "cumsum": lambda m, x: m.a(x).cumsum(3),
    "a shift": lambda m, x: F.pad(m.a(x)[:, :, 1:], (0, 0, 0, 1)),
    "positions by index": lambda m, x: m.a(x)[:, :, torch.arange(x.shape[2] - 3, -1, -1)],
    "a product along an axis": lambda m, x: m.a(x) @ m.a(x).transpose(2, 3),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_no_rule_covers_is_not_known(name):
    found = field_of(Made(UNKNOWN[name], a=conv(), b=conv(4, 4)))
    assert "is not covered" in found.unknown
    assert str(found) == "not known"


# Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill, 2019; those of
# ResNets with the stride in the 3×3 convolution, and of MobileNetV2, by the formula there.
PUBLISHED = {"vgg16": 212, "resnet18": 435, "resnet50": 427, "mobilenetv2_100": 491, "inception_v3": 1311}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name != "resnet18" else []) for name in PUBLISHED]
)
def test_published_fields(name):
    with torch.device("meta"):
        net = timm.create_model(name)
    located = locate(net)
    last = [stage.cut_points[-1] for stage in located.stages if stage.stride == 32][-1].node
    field = receptive_fields(net, located, [last])[last]
    assert (field.rows, field.cols) == (PUBLISHED[name], PUBLISHED[name])


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",
        "test_efficientnet",
        "test_convnext",
        "mobilenetv3_small_050",
        "regnety_002",
        "irb_tiny",
        "hat_net_tiny",
    ],
)
def test_stages_of_whole_networks(name):
    side = 96
    net = hi.load_model(name).model.double().eval()
    located = locate(net, (3, side, side))
    for stage in located.stages[:2]:
        point = stage.cut_points[-1]
        field = receptive_fields(net, located, [point.node])[point.node]
        assert field.unknown == ""
        kept = {}
        handle = net.get_submodule(point.qualname).register_forward_hook(
            lambda m, i, o, kept=kept: kept.update(o=o)
        )
        rows = _reached(net, kept, side)
        handle.remove()
        # Beyond the edge of the image there is nothing to see.
        expected = side if field.rows is None else min(field.rows, side)
        assert rows == expected or (rows < expected and expected > side - 2 * stage.stride)


def _reached(net, kept, side):
    images = torch.rand(side, 3, side, side, dtype=torch.float64)
    for place in range(side):
        images[place, :, place] = torch.nan
    seen = []
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        for image in images.split(16):
            net(image)
            made = kept["o"]
            seen += made[:, :, made.shape[2] // 2, made.shape[3] // 2].isnan().any(1).tolist()
    rows = [place for place, reached in enumerate(seen) if reached]
    return rows[-1] - rows[0] + 1

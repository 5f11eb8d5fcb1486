from __future__ import annotations

import copy

import pytest
import torch
from scenes import RECIPE, SMALL, images, losses, outputs, shaken, small_detector, targets
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet

import hmhsa_insert as hi
from hmhsa_insert.detection.detector import detector_record
from hmhsa_insert.detection.heads import anchors
from hmhsa_insert.detection.trim import Skipped

KINDS = {"retinanet": RetinaNet, "fasterrcnn": FasterRCNN, "maskrcnn": MaskRCNN}


@pytest.mark.parametrize(
    ("kind", "name", "sizes"),
    [
        # Each level begins with twice the one before; of an octave 8·2^⅓ = 10.08 and 8·2^⅔ = 12.70, cut to pixels.
        (
            "retinanet",
            "anchor_generator",
            ((8, 10, 12), (16, 20, 25), (32, 40, 50), (64, 80, 101), (128, 161, 203)),
        ),
        ("fasterrcnn", "rpn_anchor_generator", ((8,), (16,), (32,), (64,), (128,))),
        ("maskrcnn", "rpn_anchor_generator", ((12,), (24,), (48,), (96,), (192,))),
    ],
)
def test_anchors_by_hand(kind: str, name: str, sizes: tuple[tuple[int, ...], ...]) -> None:
    made = anchors(kind, sizes[0][0])
    assert list(made) == [name]
    assert made[name].sizes == sizes
    assert made[name].aspect_ratios == ((0.5, 1.0, 2.0),) * 5
    assert anchors(kind, 32) == {}


@pytest.mark.parametrize(
    "kind", [kind if kind == "retinanet" else pytest.param(kind, marks=pytest.mark.long) for kind in KINDS]
)
def test_a_detector_is_torchvisions_and_every_weight_learns(kind: str) -> None:
    detector = small_detector(kind, hi.apply(hi.load_model("mobilenetv2_100").model, RECIPE))
    nn.init.constant_(detector.backbone.body.get_parameter("blocks.4.2.hmhsa.gamma"), 0.5)
    assert type(detector) is KINDS[kind]
    sum(losses(detector).values()).backward()
    without = [n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)
    found = outputs(detector)
    assert len(found) == 2
    assert all(len(image["boxes"]) for image in found)


@pytest.mark.parametrize("kind", KINDS)
def test_identity_insertion_leaves_a_detector_as_it_was_bit_for_bit(kind: str) -> None:
    base = shaken(hi.load_model("resnet18").model)
    plain = small_detector(kind, base)
    spliced = small_detector(kind, hi.apply(base, RECIPE))
    missing, unexpected = spliced.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert missing
    assert all(".hmhsa." in key for key in missing)
    for ours, theirs in zip(outputs(spliced), outputs(plain), strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        assert len(ours["boxes"])
    ours, theirs = losses(spliced), losses(plain)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    spliced.backbone.body.layer3[1].hmhsa.gamma.data.fill_(1.0)
    assert not torch.equal(losses(spliced)[next(iter(ours))], theirs[next(iter(ours))])


def test_the_maps_are_the_stages_ends_behind_what_was_inserted() -> None:
    edited = hi.apply(shaken(hi.load_model("resnet18").model), RECIPE)
    edited.layer3[1].hmhsa.gamma.data.fill_(0.7)
    detector = small_detector("fasterrcnn", edited).eval()
    x = torch.rand(2, 3, 64, 96)
    edited.eval()
    want = []
    with torch.no_grad():
        y = edited.maxpool(edited.act1(edited.bn1(edited.conv1(x))))
        for stage in (edited.layer1, edited.layer2, edited.layer3, edited.layer4):
            want.append(y := stage(y))
        got = list(detector.backbone.maps(x).values())
    assert len(got) == 4
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_a_copy_reads_its_own_maps_and_the_network_given_stays_as_it_was() -> None:
    base = shaken(hi.load_model("resnet18").model)
    keys = list(base.state_dict())
    detector = small_detector("retinanet", base)
    assert list(base.state_dict()) == keys
    assert not any(isinstance(module, Skipped) for module in base.modules())
    twin = copy.deepcopy(detector)
    before = outputs(twin)
    for parameter in detector.backbone.body.parameters():
        parameter.data.zero_()
    outputs(detector)
    after = outputs(twin)
    assert all(torch.equal(a["scores"], b["scores"]) for a, b in zip(before, after, strict=True))
    assert not torch.equal(outputs(detector)[0]["scores"], after[0]["scores"])


def test_base_weights_load_by_their_own_keys() -> None:
    base = hi.load_model("resnet18").model
    detector = small_detector("retinanet", "resnet18")
    left = detector.backbone.body.load_state_dict(base.state_dict(), strict=False)
    assert left.missing_keys == []
    assert left.unexpected_keys == ["fc.weight", "fc.bias"]


class OwnForward(nn.Module):
    """Stages end inside the network's own forward, in N×H×W×C; the head needs its pool's shape."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 4 if a == 3 else 2, 1) for a, b in CHANNELS)
        self.left = nn.ModuleList(nn.Linear(b, b) for _, b in CHANNELS)
        self.right = nn.ModuleList(nn.Linear(b, b) for _, b in CHANNELS)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(4 * 32, 5)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(4):
            x = self.down[i](x).permute(0, 2, 3, 1)
            x = self.left[i](x) + self.right[i](x).relu()
            x = x.permute(0, 3, 1, 2)
        return self.head(self.pool(x).reshape(x.shape[0], 4 * 32))


CHANNELS = ((3, 16), (16, 16), (16, 24), (24, 32))


def test_maps_inside_a_forward_are_read_and_a_head_that_cannot_go_stands_still() -> None:
    network = OwnForward()
    detector = small_detector("maskrcnn", network, input_size=(3, 128, 128))
    x = torch.rand(1, 3, 128, 160)
    want = []
    with torch.no_grad():
        y = x
        for i in range(4):
            y = network.down[i](y).permute(0, 2, 3, 1)
            y = (network.left[i](y) + network.right[i](y).relu()).permute(0, 3, 1, 2)
            want.append(y)
        got = list(detector.backbone.maps(x).values())
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    assert detector.backbone.body.head.weight.requires_grad is False
    sum(losses(detector).values()).backward()
    assert all(p.grad is not None for p in detector.parameters() if p.requires_grad)


def test_stages_and_norms_stand_still_as_asked_and_what_was_inserted_learns() -> None:
    edited = hi.apply(hi.load_model("resnet18").model, RECIPE)
    detector = small_detector("maskrcnn", edited, trainable_stages=1, frozen_norm=True)
    body = detector.backbone.body
    learning = {name for name, p in body.named_parameters() if p.requires_grad}
    assert {name.partition(".")[0] for name in learning if ".hmhsa." not in name} == {"layer4"}
    assert any(".hmhsa." in name for name in learning)
    assert not any("bn" in name for name in learning if ".hmhsa." not in name)
    detector.train()
    assert not body.bn1.training
    assert body.layer3[1].hmhsa.training
    before = body.bn1.running_mean.clone()
    losses(detector)
    assert torch.equal(body.bn1.running_mean, before)
    with pytest.raises(hi.ModelError, match="4 stages"):
        small_detector("maskrcnn", "resnet18", trainable_stages=5)


def test_what_a_detector_cannot_be_built_from_is_said() -> None:
    with pytest.raises(hi.ModelError, match="did you mean 'retinanet'"):
        hi.detector("retinanett", "resnet18", 3)
    with pytest.raises(hi.ModelError, match="class 0 is the background"):
        hi.detector("retinanet", "resnet18", 1)
    with pytest.raises(hi.ModelError, match="3 classes, not 5"):
        hi.detector("retinanet", "resnet18", 5, categories={1: "a", 7: "b"})
    with pytest.raises(hi.ModelError, match=r"no stage of stride 8, 32.*strides 16"):
        hi.detector("retinanet", "vit_tiny_patch16_224", 3)
    with pytest.raises(hi.ModelError, match="2 values"):
        hi.detector("retinanet", "resnet18", 3, image_mean=[0.5, 0.5])
    with pytest.raises(hi.ModelError, match=r"RetinaNet has no such option.*did you mean 'score_thresh'"):
        hi.detector("retinanet", "resnet18", 3, box_score_thresh=0.1)
    with pytest.raises(hi.ModelError, match="3×224×224 only"):
        hi.detector("retinanet", "swin_tiny_patch4_window7_224", 3)


def test_the_record_says_what_was_built() -> None:
    detector = small_detector("retinanet", "mobilenetv2_100", None, categories={3: "cat", 9: "dog"})
    record = detector_record(detector)
    assert record is not None
    assert (record.kind, record.num_classes) == ("retinanet", 3)
    assert list(record.categories.items()) == [(3, "cat"), (9, "dog")]
    assert record.source is not None
    assert record.source.spec == "timm/mobilenetv2_100"
    assert record.options["min_size"] == SMALL["min_size"]
    assert detector_record(hi.load_model("resnet18").model) is None
    assert len(images()) == len(targets())

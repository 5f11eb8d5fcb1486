"""Segmenters around backbones: any size of image, edits that leave everything as it was, folders, refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.errors import ArtifactError, ModelError
from hmhsa_insert.segmentation.artifact import is_segmenter, read_segmenter
from hmhsa_insert.segmentation.segmenter import segmenter_record

BACKBONE = "test_resnet"
BLOCK = {"type": "hmhsa", "head_dim": 16}
STAGE3 = {"version": 1, "edits": [{"op": "insert", "id": "attn", "at": {"stage": 3}, "block": BLOCK}]}


class Own(nn.Module):
    """A network of the user's own, without a stage of stride 2."""

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 24, 32, 48)
        self.stem = nn.Conv2d(3, 16, 4, stride=4)
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(i, o, 3, stride=1 if i == o else 2, padding=1), nn.BatchNorm2d(o), nn.ReLU()
            )
            for i, o in zip((16, *widths), widths, strict=False)
        )
        self.head = nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for step in self.steps:
            x = step(x)
        return self.head(x.mean((2, 3)))


def shaken(model: nn.Module) -> nn.Module:
    """Return a model whose norms have statistics, so that wrong ones would show."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model


def build(model: nn.Module, decoder: str = "semantic_fpn", **options: Any) -> nn.Module:
    torch.manual_seed(7)
    return hi.segmenter(decoder, model, 5, channels=32, **options).eval()


@pytest.fixture(scope="module")
def base() -> nn.Module:
    return shaken(hi.load_model(BACKBONE, in_chans=3).model)


@pytest.mark.parametrize("size", [(97, 131), (64, 64), (5, 70)])
def test_scores_have_the_size_of_the_image(base: nn.Module, size: tuple[int, int]) -> None:
    model = build(base)
    with torch.no_grad():
        assert model(torch.rand(2, 3, *size)).shape == (2, 5, *size)


def test_what_is_beside_the_image_is_not_scored(base: nn.Module) -> None:
    model, image = build(base), torch.rand(1, 3, 50, 70)
    mean = torch.tensor(segmenter_record(model).options["image_mean"]).view(1, 3, 1, 1)
    padded = mean.repeat(1, 1, 64, 96)
    padded[..., :50, :70] = image
    with torch.no_grad():
        assert torch.equal(model(image), model(padded)[..., :50, :70])


@pytest.mark.parametrize("network", ["timm", "own"])
def test_an_identity_insertion_leaves_the_scores_as_they_are(base: nn.Module, network: str) -> None:
    plain = base if network == "timm" else shaken(Own())
    edited = hi.apply(plain, STAGE3, input_size=(3, 64, 64))
    image = torch.rand(2, 3, 97, 131)
    with torch.no_grad():
        assert torch.equal(build(plain, input_size=64)(image), build(edited, input_size=64)(image))


def test_every_parameter_that_can_learn_does(base: nn.Module) -> None:
    model = build(hi.apply(base, STAGE3, input_size=(3, 64, 64))).train()
    model(torch.rand(2, 3, 64, 64)).square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    assert any("attn" in name for name, _ in model.named_parameters())


def test_the_backbone_is_a_copy_with_its_weights(base: nn.Module) -> None:
    model = build(base)
    own, theirs = base.state_dict(), model.get_submodule("body").state_dict()
    shared = [key for key in theirs if key in own]
    assert len(shared) > 20
    assert all(torch.equal(own[key], theirs[key]) for key in shared)
    assert all(theirs[key].data_ptr() != own[key].data_ptr() for key in shared if own[key].numel())


@pytest.mark.parametrize("edited", [False, True])
def test_a_folder_builds_it_again_bit_for_bit(base: nn.Module, edited: bool, tmp_path: Path) -> None:
    model = hi.apply(base, STAGE3, input_size=(3, 64, 64)) if edited else base
    made = build(model, classes=["a", "b", "c", "d", "e"], short_side=48, dropout=0.2)
    folder = hi.save(made, tmp_path / "made")
    assert is_segmenter(folder)
    loaded, image = hi.load(folder), torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        assert torch.equal(loaded(image), made(image))
    record = read_segmenter(folder).record
    assert (record.decoder, record.classes) == ("semantic_fpn", tuple("abcde"))
    assert (record.options["short_side"], record.options["dropout"]) == (48, 0.2)
    assert segmenter_record(loaded).options == segmenter_record(made).options
    text = (folder / "segmenter.json").read_text()
    (folder / "segmenter.json").write_text(text.replace('"semantic_fpn"', '"fnp"'))
    with pytest.raises(ArtifactError, match="there is no decoder 'fnp'"):
        hi.load(folder)


def test_copies_and_threads_keep_their_own_maps(base: nn.Module) -> None:
    import copy

    model, image = build(base), torch.rand(1, 3, 64, 64)
    other = copy.deepcopy(model)
    with torch.no_grad():
        expected = model(image)
        for parameter in other.parameters():
            parameter.mul_(2)
        assert not torch.equal(other(image), expected)
        assert torch.equal(model(image), expected)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("semantic_fnp", BACKBONE, 3), {}, "did you mean 'semantic_fpn'"),
        (("semantic_fpn", BACKBONE), {}, "how many classes a pixel can have is not known"),
        (("semantic_fpn", BACKBONE, 3), {"classes": ["a", "b"]}, "2 classes are named, and 3 asked for"),
        (("semantic_fpn", BACKBONE, 3), {"drop_out": 0.1}, "did you mean 'dropout'"),
        (("semantic_fpn", BACKBONE, 3), {"channels": 4}, "4 is not between 16 and 2048"),
        (("semantic_fpn", BACKBONE, 3), {"image_mean": [0.5]}, "takes 3 channels, and this has 1 values"),
        (("semantic_fpn", "vit_tiny_patch16_224", 3), {}, "it has no stage of stride 4, 8"),
    ],
)
def test_what_cannot_be_built_is_said(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        hi.segmenter(*arguments, **options)
    assert message in str(caught.value)


def test_without_smp_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "segmentation_models_pytorch", None)
    with pytest.raises(ModelError, match=r"pip install 'hmhsa-insert\[segmentation\]'"):
        hi.segmenter("unet", BACKBONE, 3)

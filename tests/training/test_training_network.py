"""The network of a run: fitted to the data, given its base weights, edited."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from training_nets import RECIPE, SETTINGS, few_digits, irb_nano, plain

from hmhsa_insert.errors import HmhsaInsertError, ModelError, WeightsError
from hmhsa_insert.surgery.apply import apply
from hmhsa_insert.surgery.artifact.artifact import open_model, save
from hmhsa_insert.surgery.base.load import load_model
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.surgery.edit.undo import base_state_dict
from hmhsa_insert.training.adapt import head_names, transfer
from hmhsa_insert.training.data import Data
from hmhsa_insert.training.network import TrainableModel, build_network
from hmhsa_insert.training.problems import SettingsError, TrainingError
from hmhsa_insert.training.run import train
from hmhsa_insert.training.settings import load_settings

QUIET: dict[str, Any] = {"epochs": 1, "batch_size": 8, "input_size": 32}


def _data(num_classes: int = 10, channels: int = 1) -> Data:
    classes = tuple(str(number) for number in range(num_classes))
    return dataclasses.replace(few_digits(), classes=classes, channels=channels)


def _build(
    model: str | nn.Module, data: Data | None = None, settings: Any = QUIET, **options: Any
) -> TrainableModel:
    return build_network(model, data or _data(), load_settings(settings), **options)


def _same(a: nn.Module, b: nn.Module) -> bool:
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_head_and_stem_are_built_for_the_data_and_said() -> None:
    made = _build("timm/test_resnet", _data(7, 1))
    assert made.model.get_classifier().out_features == 7  # type: ignore[operator,union-attr]
    assert (made.channels, made.notes) == (1, ("built for the data, head: 7 classes, stem: 1 channel",))
    assert not made.has_weights


def test_a_library_whose_stems_take_three_channels_gets_color_images() -> None:
    made = _build("torchvision/squeezenet1_1", _data(5), QUIET | {"input_size": 64})
    assert made.channels == 3
    assert made.notes == ("built for the data, head: 5 classes", "images are read as RGB: the stem takes 3")


def test_a_network_that_refuses_the_size_of_the_images(tmp_path: Path) -> None:
    said = r"VisionTransformer: an image of 1×32×32 does not run: .*\(another size: `input_size=N`\)"
    with pytest.raises(TrainingError, match=said):
        train("timm/deit_tiny_patch16_224", few_digits(), settings=QUIET, folder=tmp_path / "runs" / "run")
    assert not list(tmp_path.iterdir())


def test_a_factory_of_the_users_own() -> None:
    assert _build("training_nets:irb_nano").channels == 1
    with pytest.raises(
        TrainingError, match=r"gives \(1, 10\) for one image, and the data has 3 classes"
    ) as error:
        _build(plain(), _data(3))
    assert (
        error.value.title == "the network does not fit the data"
    )  # of evaluate, too, where nothing is trained


def test_what_no_factory_takes() -> None:
    with pytest.raises(
        SettingsError, match=r"regularize.drop_path: training_nets:plain takes no drop_path_rate"
    ):
        _build("training_nets:plain", settings=QUIET | {"regularize": {"drop_path": 0.1}})
    with pytest.raises(ModelError, match="neither timm nor torchvision"):
        _build("resnet1888")
    with pytest.raises(TrainingError, match="an image of 1×16×16 does not run"):
        _build(
            nn.Sequential(nn.Conv2d(1, 4, 9), nn.Conv2d(4, 4, 9), nn.Flatten()),
            settings=QUIET | {"input_size": 16},
        )


def test_variants_of_a_seed_share_base_weights_and_leave_the_generators_alone() -> None:
    before = torch.get_rng_state()
    bare = _build("training_nets:irb_nano", seed=4)
    edited = _build("training_nets:irb_nano", seed=4, recipe=RECIPE)
    other = _build("training_nets:irb_nano", seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert _same(bare.model, edited.base)
    state = base_state_dict(edited.model)
    assert all(torch.equal(state[key], tensor) for key, tensor in bare.model.state_dict().items())
    assert not _same(bare.model, other.model)


def test_new_parameters_are_those_of_the_inserted_blocks() -> None:
    made = _build("training_nets:irb_nano", recipe=RECIPE)
    keys = [key for key, _ in inserted_modules(made.model)]
    assert made.fresh == {n for n, _ in made.model.named_parameters() if n.startswith(tuple(keys))}
    assert any(name.endswith("gamma") for name in made.fresh)


def test_base_weights_by_their_own_keys(tmp_path: Path) -> None:
    base = irb_nano(in_chans=1, num_classes=10)
    save_file(base.state_dict(), tmp_path / "base.safetensors")
    made = _build("training_nets:irb_nano", recipe=RECIPE, init_from=tmp_path / "base.safetensors")
    assert made.has_weights
    assert _same(made.base, base)
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(made.model.eval()(images), base.eval()(images))


def test_base_weights_of_other_classes_and_channels(tmp_path: Path) -> None:
    saved = irb_nano(in_chans=3, num_classes=1000)
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in saved.state_dict().items()}}, tmp_path / "base.pth"
    )
    made = _build("training_nets:irb_nano", init_from=tmp_path / "base.pth")
    state, source = made.model.state_dict(), saved.state_dict()
    (head,) = head_names(made.model)
    assert made.fresh == {f"{head}.weight", f"{head}.bias"}
    assert "head: classifier.1.bias, classifier.1.weight are reinitialized" in made.notes[-1]
    folded = source["patch_embed.0.weight"].sum(1, keepdim=True)
    torch.testing.assert_close(state["patch_embed.0.weight"], folded)
    rest = [key for key in source if not key.startswith((head, "patch_embed.0.weight"))]
    assert all(torch.equal(state[key], source[key]) for key in rest)


def test_weights_of_another_network(tmp_path: Path) -> None:
    save_file(plain().state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="the model does not have"):
        _build("training_nets:irb_nano", init_from=tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="there is no such file"):
        _build("training_nets:irb_nano", init_from=tmp_path / "nowhere.pth")
    with pytest.raises(ModelError, match=r"0\.weight is \(8, 1, 3, 3\) in the weights"):
        transfer(plain(), nn.Sequential(nn.Conv2d(1, 9, 3)))


def test_an_artifact_goes_on_as_it_is_or_for_other_classes(tmp_path: Path) -> None:
    loaded = load_model("timm/test_resnet", num_classes=10, in_chans=1)
    first = _build(loaded.model, recipe=RECIPE, settings=QUIET | {"input_size": 64})
    with torch.no_grad():
        for parameter in first.model.parameters():
            parameter.add_(0.01)
    save(first.model, tmp_path / "artifact")
    again = _build(str(tmp_path / "artifact"))
    assert _same(again.model, first.model)
    assert again.has_weights
    fewer = _build(str(tmp_path / "artifact"), _data(3))
    (head,) = head_names(fewer.model)
    assert fewer.model.state_dict()[f"{head}.weight"].shape[0] == 3
    assert f"{head}.weight" in fewer.fresh
    before, after = first.model.state_dict(), fewer.model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before if not key.startswith(head))


def test_an_artifact_for_images_of_other_channels_says_them(tmp_path: Path) -> None:
    loaded = load_model("timm/test_resnet", num_classes=10)
    save(apply(loaded.model, RECIPE, (3, 64, 48)), tmp_path / "artifact")
    made = _build(str(tmp_path / "artifact"), _data(10, 1))
    assert made.channels == 1
    save(made.model, tmp_path / "again")
    opened = open_model(str(tmp_path / "again"))
    assert opened.input_size == (1, 64, 48)
    assert opened.model(torch.zeros(1, *opened.input_size)).shape == (1, 10)


def test_drop_path_and_dropout_reach_the_factory() -> None:
    made = _build("training_nets:irb_nano", settings=SETTINGS)
    drops = [module.drop_prob for module in made.model.modules() if hasattr(module, "drop_prob")]
    assert max(drops) == pytest.approx(0.2)
    assert any(isinstance(module, nn.Dropout) and module.p == 0.2 for module in made.model.modules())


def test_every_error_is_one_of_ours() -> None:
    assert issubclass(TrainingError, HmhsaInsertError)
    assert issubclass(SettingsError, HmhsaInsertError)

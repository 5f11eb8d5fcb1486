import copy
import csv
import importlib
import warnings
from pathlib import Path

import pytest
import timm
import torch
from timm.models import is_model, model_entrypoint

import hmhsa_insert.models as models
from hmhsa_insert.models.network import Network

GOLDEN = Path(__file__).parents[1] / "golden"

PARAMETERS = {
    "transcnn_tiny": 13_315_976,
    "transcnn_small": 26_538_824,
    "transcnn_medium": 48_322_504,
    "transcnn_large": 80_033_352,
    "hat_net_tiny": 12_655_912,
    "hat_net_small": 25_747_784,
    "hat_net_medium": 42_942_472,
    "hat_net_large": 63_132_488,
}
TINY = ["transcnn_tiny", "hat_net_tiny", "irb_tiny"]


@pytest.fixture(autouse=True)
def _seeded():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def create(name, **kwargs):
    return timm.create_model(name, **kwargs)


def unused_norm_params(name):
    """Parameters of the norm in HAT-Net's attention that its forward never uses, which we do not build."""
    cfg = models.CONFIGS[name]
    blocks = zip(cfg.channels, cfg.depths, strict=True)
    return sum(2 * channels * depth for channels, depth in blocks) if name.startswith("hat") else 0


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_are_the_published(name):
    with torch.device("meta"):
        model = create(name)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name] - unused_norm_params(name)


@pytest.mark.parametrize("name", ["transcnn_tiny", "hat_net_tiny"])
def test_keys_and_shapes_are_those_of_the_released_checkpoint(name):
    with (GOLDEN / f"{name}_checkpoint_keys.csv").open() as file:
        rows = [(row["key"], row["shape"]) for row in csv.DictReader(file)]
    with torch.device("meta"):
        state = create(name).state_dict()
    found = [(key, "x".join(map(str, value.shape)) or "scalar") for key, value in state.items()]
    assert found == [row for row in rows if "proj_norm" not in row[0]]


@pytest.mark.parametrize("size", ["tiny", "small", "medium", "large"])
def test_irb_stack_has_transcnns_keys_without_attention(size):
    with torch.device("meta"):
        plain = create(f"irb_{size}").state_dict()
        full = create(f"transcnn_{size}").state_dict()
    in_both = {k: v.shape for k, v in full.items() if ".attn." not in k and not k.startswith("ds")}
    assert {k: v.shape for k, v in plain.items() if not k.startswith("ds")} == in_both
    for key in ("ds2.conv.weight", "ds4.conv.bias"):
        assert plain[key].shape == full[key].shape


def test_irb_block_is_x_plus_irb():
    model = create("irb_tiny").eval()
    block = model.blocks[0][0]
    x = torch.randn(1, 64, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(block(x), x + block.conv(x))


@pytest.mark.parametrize("name", TINY)
def test_forward_is_the_chain_of_its_parts(name):
    model = create(name, num_classes=7).eval()
    x = torch.randn(1, 3, 97, 131)
    with torch.no_grad():
        features = model.patch_embed(x.to(memory_format=torch.channels_last))
        for index, stage in enumerate(model.blocks):
            features = features if index == 0 else getattr(model, f"ds{index + 1}")(features)
            for block in stage:
                features = block(features)
        assert features.shape == (1, model.num_features, 4, 5)
        torch.testing.assert_close(model.forward_features(x), features)
        pooled = features.mean((2, 3))
        torch.testing.assert_close(model.forward_head(features, pre_logits=True), pooled)
        torch.testing.assert_close(model(x), model.get_classifier()(pooled))


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("size", [(224, 224), (256, 256), (320, 480)])
def test_image_sizes(name, size):
    model = create(name, num_classes=5).eval()
    with torch.no_grad():
        y = model(torch.randn(1, 3, *size))
    assert y.shape == (1, 5)
    assert y.isfinite().all()


@pytest.mark.parametrize("name", TINY)
def test_memory_format_does_not_change_the_logits(name):
    model = create(name, num_classes=5).eval()
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = model(x)
        y = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", TINY)
def test_training_reaches_every_parameter(name):
    model = create(name, num_classes=3, drop_rate=0.0).train()
    (model(torch.randn(2, 3, 64, 64)) * torch.randn(2, 3)).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


def test_drop_path_grows_linearly():
    model = create("hat_net_tiny", drop_path_rate=0.12)
    rates = [block.drop_path.drop_prob for stage in model.blocks for block in stage]
    assert rates == pytest.approx([0.01 * index for index in range(13)])
    assert rates[-1] == pytest.approx(0.12)


def test_timm_arguments_and_head():
    model = create("transcnn_tiny", num_classes=11, in_chans=1, drop_rate=0.3, global_pool="max").eval()
    assert isinstance(model, Network)
    assert model.classifier[0].p == 0.3
    assert model.patch_embed[0].in_channels == 1
    x = torch.randn(1, 1, 32, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            model.forward_head(model.forward_features(x), True), model.forward_features(x).amax((2, 3))
        )
    assert model(x).shape == (1, 11)
    model.reset_classifier(0, "avg")
    assert model(x).shape == (1, 512)
    model.reset_classifier(4)
    assert model(x).shape == (1, 4)
    assert model.get_classifier().out_features == 4
    assert model.no_weight_decay() == set()


def test_authors_dropout_is_the_default():
    assert create("irb_tiny").classifier[0].p == 0.2


@pytest.mark.parametrize("name", TINY)
def test_default_cfg(name):
    model = create(name)
    cfg = model.default_cfg
    assert cfg["input_size"] == (3, 224, 224)
    assert cfg["mean"] == (0.485, 0.456, 0.406)
    assert cfg["std"] == (0.229, 0.224, 0.225)
    assert not cfg.get("url")
    modules = dict(model.named_modules())
    assert modules[cfg["first_conv"]].in_channels == 3
    assert modules[cfg["classifier"]].out_features == 1000


@pytest.mark.parametrize("name", TINY)
def test_features_only_gives_the_stages(name):
    backbone = create(name, features_only=True).eval()
    model = create(name).eval()
    model.load_state_dict(
        {k.removeprefix("body."): v for k, v in backbone.state_dict().items()}, strict=False
    )
    assert backbone.feature_info.reduction() == [4, 8, 16, 32]
    assert backbone.feature_info.channels() == list(models.CONFIGS[name].channels)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        maps = backbone(x)
        torch.testing.assert_close(maps[-1], model.forward_features(x))
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_gradient_checkpointing_gives_the_same_gradients():
    model = create("irb_tiny", num_classes=3, drop_rate=0.0).eval()
    other = copy.deepcopy(model)
    other.set_grad_checkpointing()
    x = torch.randn(1, 3, 32, 32)
    for one in (model, other):
        one(x).sum().backward()
    for expected, found in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


def test_registration_is_idempotent():
    before = {name: model_entrypoint(name) for name in models.CONFIGS}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(models)
        models.register()
    assert {name: model_entrypoint(name) for name in models.CONFIGS} == before
    assert all(is_model(name) for name in PARAMETERS)


@pytest.mark.long
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_compiles_and_exports(norm):
    four, once = (8, 16, 16, 24), (1, 1, 1, 1)
    cfg = models.NetworkConfig(four, once, once, (3, 3, 3, 3), norm, "tdb", 8, (8, 7, 7, 1))
    model = Network(cfg, num_classes=3).eval()
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = model(x)
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), expected)
        exported = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.testing.assert_close(exported.module()(x[:1].repeat(3, 1, 1, 1))[:1], expected[:1])

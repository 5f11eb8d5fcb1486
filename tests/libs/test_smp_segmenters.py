"""Bar of the decoders: networks of every kind, plain and edited, in each of smp's decoders and the authors'."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.errors import ModelError

pytest.importorskip("segmentation_models_pytorch")
pytestmark = pytest.mark.libs

HERE = Path(__file__).parent
SEGMENTATION = HERE.parent / "segmentation"
sys.path.append(str(SEGMENTATION))

from seg_nets import RECIPE, make, planned, train  # noqa: E402
from test_segmenter import STAGE3, Own, shaken  # noqa: E402

from hmhsa_insert.segmentation.decoders import DECODERS  # noqa: E402
from hmhsa_insert.segmentation.labels import IGNORED  # noqa: E402
from hmhsa_insert.segmentation.objective import make_losses  # noqa: E402
from hmhsa_insert.segmentation.schema import SemanticLossSettings  # noqa: E402
from hmhsa_insert.training.score import candidate, score  # noqa: E402

NETWORKS = (
    *("resnet18", "resnet50", "mobilenetv2_100", "convnext_atto", "transcnn_tiny", "hat_net_tiny"),
    "own",
)
SIZES = ((512, 512), (97, 131))
# What the fast run of these tests takes: every network and every decoder at least once.
SAMPLE = {
    *(("resnet18", name) for name in DECODERS),
    *(("convnext_atto", name) for name in ("unet", "unetplusplus", "segformer")),
    *(("own", name) for name in ("unet", "deeplabv3plus")),
}
CASES = [
    pytest.param(network, decoder, marks=() if (network, decoder) in SAMPLE else pytest.mark.long)
    for network in NETWORKS
    for decoder in DECODERS
]


@pytest.fixture(scope="module")
def networks() -> dict[str, tuple[nn.Module, nn.Module]]:
    """Return every network, plain and with an insertion that leaves its outputs as they are, built when asked for."""

    class Built(dict[str, tuple[nn.Module, nn.Module]]):
        def __missing__(self, name: str) -> tuple[nn.Module, nn.Module]:
            torch.manual_seed(0)
            plain = shaken(Own() if name == "own" else hi.load_model(name).model)
            self[name] = plain, hi.apply(plain, STAGE3)
            return self[name]

    return Built()


def build(decoder: str, model: nn.Module) -> nn.Module:
    torch.manual_seed(7)
    return hi.segmenter(decoder, model, 5, channels=64)


@pytest.mark.parametrize(("network", "decoder"), CASES)
def test_every_network_in_every_decoder(
    network: str, decoder: str, networks: dict[str, tuple[nn.Module, nn.Module]], tmp_path: Path
) -> None:
    plain, edited = (build(decoder, model).eval() for model in networks[network])
    ce = make_losses(SemanticLossSettings(), 5)["ce"][1]
    for height, width in SIZES if decoder == "semantic_fpn" else SIZES[1:]:
        image = torch.rand(2, 3, height, width)
        with torch.no_grad():
            scores = edited(image)
            assert scores.shape == (2, 5, height, width)
            assert torch.equal(plain(image), scores)
    loaded = hi.load(hi.save(edited, tmp_path / "made"))
    with torch.no_grad():
        assert torch.equal(loaded(image), scores)
    edited.train()
    loss = ce(edited(image), torch.randint(5, (2, height, width)))
    loss.backward()
    trained = [(name, p.grad) for name, p in edited.named_parameters() if p.requires_grad]
    assert not [name for name, grad in trained if grad is None or not grad.isfinite().all()]


@pytest.mark.long
@pytest.mark.parametrize("decoder", DECODERS)
def test_at_512_pixels(decoder: str, networks: dict[str, tuple[nn.Module, nn.Module]]) -> None:
    plain, edited = (build(decoder, model).eval() for model in networks["resnet18"])
    image = torch.rand(1, 3, 512, 512)
    with torch.no_grad():
        scores = edited(image)
        assert scores.shape == (1, 5, 512, 512)
        assert torch.equal(plain(image), scores)


@pytest.mark.long
@pytest.mark.parametrize("decoder", [name for name in DECODERS if name != "semantic_fpn"])
def test_killed_and_gone_on_with_it_ends_the_same(decoder: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    data = make(tmp_path / "data")
    options: dict[str, Any] = {"recipe": RECIPE, "decoder": decoder}
    settings = {"segmenter": {"channels": 64}}
    whole = train(data, tmp_path / "whole", settings=settings, **options)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SEGMENTATION), *sys.path])}
    command = [
        sys.executable,
        str(SEGMENTATION / "seg_nets.py"),
        str(data),
        str(tmp_path / "killed"),
        decoder,
        "3",
    ]
    assert subprocess.run([*command, "64"], env=environment).returncode == -9
    train(data, tmp_path / "killed", settings=settings, **options)
    for name in ("metrics.csv", "result.json", "last.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert score(candidate(tmp_path / "whole", checkpoint="ema")).row["mIoU"] == whole.miou


def test_losses_of_smp_leave_ignored_pixels_out() -> None:
    losses = make_losses(SemanticLossSettings(ce=1, dice=0.5, lovasz=2), 3)
    assert {name: weight for name, (weight, _) in losses.items()} == {"ce": 1, "dice": 0.5, "lovasz": 2}
    scores, labels = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 8, 8))
    labels[:, :4] = IGNORED
    other = scores.clone()
    other[:, :, :4] += 3 * torch.randn(2, 3, 4, 8)
    nothing = torch.full_like(labels, IGNORED)
    for name, (_, loss) in losses.items():
        assert torch.allclose(loss(scores, labels), loss(other, labels)), name
        assert loss(scores, labels) > 0
        assert loss(scores, nothing) == 0, name


def test_training_with_losses_of_smp_learns(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    changes = {"loss": {"ce": 1.0, "dice": 1.0, "lovasz": 0.5}, "segmenter": {"channels": 64}, "epochs": 1}
    run = planned(make(tmp_path / "data"), settings=changes, decoder="unet")
    assert run.config["decoder"] == "unet"
    result = train(tmp_path / "data", tmp_path / "run", settings=changes, decoder="unet")
    text = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0]
    assert all(f"train_{name}" in text for name in ("ce", "dice", "lovasz"))
    assert result.miou is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder_atention_type": "scse"}, "did you mean 'decoder_attention_type'"),
        ({"encoder_depth": 4}, "smp's Unet has no such option"),
        ({"decoder_attention_type": "none"}, "smp's Unet: cannot be built"),
    ],
)
def test_options_that_smp_does_not_take_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        hi.segmenter("unet", "test_resnet", 3, channels=64, **options)
    assert message in str(caught.value)


def test_options_of_smp_are_taken() -> None:
    plain = hi.segmenter("unet", "test_resnet", 3, channels=64)
    attentive = hi.segmenter("unet", "test_resnet", 3, channels=64, decoder_attention_type="scse")
    assert sum(p.numel() for p in attentive.parameters()) > sum(p.numel() for p in plain.parameters())

"""Located backbones as encoders of segmentation_models_pytorch."""

import pytest
import timm
import torch

import hmhsa_insert as hi
from hmhsa_insert.errors import ModelError

smp = pytest.importorskip("segmentation_models_pytorch")
pytestmark = pytest.mark.libs
SIZE = (3, 64, 64)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "resnet10t"])
def test_an_edited_backbone_is_an_encoder(name: str) -> None:
    model = timm.create_model(name).eval()
    plain = hi.integrations.smp.register_encoder("plain", model, SIZE)
    edited = hi.integrations.smp.register_encoder("edited", hi.apply(model, "stage3.yaml", SIZE), SIZE)
    before, after = (smp.Unet(each, encoder_weights=None, classes=2).eval() for each in (plain, edited))
    base = after.state_dict().keys() & before.state_dict().keys()
    assert set(before.state_dict()) == base < set(after.state_dict())
    after.load_state_dict(before.state_dict(), strict=False)
    x = torch.randn(2, *SIZE)
    assert before.encoder.out_channels == after.encoder.out_channels
    assert [tuple(f.shape[1:2]) for f in after.encoder(x)] == [(c,) for c in after.encoder.out_channels]
    with torch.no_grad():
        assert torch.equal(before(x), after(x))
    after.train()(x).mean().backward()
    new = [p for k, p in after.named_parameters() if k not in base]
    assert new
    assert any(p.grad is not None and p.grad.any() for p in new)


def test_the_registered_model_is_a_copy() -> None:
    model = timm.create_model("resnet18")
    name = hi.integrations.smp.register_encoder("copied", model, SIZE)
    with torch.no_grad():
        model.conv1.weight.zero_()
    assert smp.Unet(name, encoder_weights=None).encoder.body.conv1.weight.any()


def test_what_cannot_be_an_encoder() -> None:
    with pytest.raises(ModelError, match="smp has an encoder of this name"):
        hi.integrations.smp.register_encoder("resnet18", timm.create_model("resnet18"), SIZE)
    with pytest.raises(ModelError, match="it has no stage of stride 2"):
        hi.integrations.smp.register_encoder("vit", timm.create_model("convnext_atto"), SIZE)

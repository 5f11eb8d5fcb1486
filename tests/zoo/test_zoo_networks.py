"""A fair sample of the zoo: one or two networks of every family, at their own input size. `make test-zoo` runs all."""

from __future__ import annotations

import pytest

from hmhsa_insert.zoo.check import check_network
from hmhsa_insert.zoo.networks import entries

TIMM = """
resnet18 resnetv2_50 ecaresnet26t bat_resnext26ts botnet26t_256 halonet26t
mobilenetv3_small_050 efficientnet_lite0 efficientnetv2_rw_t
mnasnet_small tinynet_e regnetx_002 regnety_002 convnext_atto convnextv2_atto
densenet121 rdnet_tiny dla34 vovnet39a ese_vovnet19b_dw hgnetv2_b0 hrnet_w18_small repvgg_a0
mobileone_s0 fastvit_t8 edgenext_xx_small mobilevit_xxs efficientvit_b0 efficientformer_l1 poolformer_s12
convmixer_768_32 swin_tiny_patch4_window7_224 coatnet_nano_cc_224 levit_conv_128s pvt_v2_b0 twins_svt_small
vit_tiny_r_s16_p8_224 repghostnet_050 selecsls42 inception_v3 nfnet_l0
"""
TORCHVISION = """
resnet18 mobilenet_v2 squeezenet1_1 shufflenet_v2_x0_5 googlenet mnasnet0_5 densenet121 vgg11 efficientnet_b0
alexnet regnet_x_400mf convnext_tiny swin_t maxvit_t
"""
SAMPLE = [f"timm/{name}" for name in TIMM.split()] + [f"torchvision/{name}" for name in TORCHVISION.split()]
ENTRIES = {entry.spec: entry for entry in entries()}


def test_the_sample_covers_at_least_forty_networks_of_the_list() -> None:
    assert len(SAMPLE) >= 40
    assert set(SAMPLE) <= set(ENTRIES)


@pytest.mark.parametrize("name", SAMPLE)
def test_identity_at_every_stage(name: str) -> None:
    row = check_network(ENTRIES[name])
    assert row.status == "ok", row.reason
    assert row.eval_change == 0
    assert row.train_change == 0
    assert row.weights_kept
    assert row.sites >= 1


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in ENTRIES if name not in SAMPLE])
def test_identity_at_every_stage_of_the_rest(name: str) -> None:
    row = check_network(ENTRIES[name])
    assert row.status in ("ok", "refused"), row.reason
    assert row.eval_change in (0, None)
    assert row.train_change in (0, None)

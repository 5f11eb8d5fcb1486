"""A fair sample of the zoo: one or two networks of every family, at their own input size.

A part of it is long; `make test-zoo` runs all.
"""

from __future__ import annotations

import pytest

from hmhsa_insert.zoo.check import check_network
from hmhsa_insert.zoo.networks import entries

SHORT = """
timm/resnet18 timm/mobilenetv3_small_050 timm/convnext_atto timm/dla34 timm/mobilevit_xxs torchvision/squeezenet1_1
"""
LONG = """
timm/regnety_002 timm/ese_vovnet19b_dw timm/repvgg_a0 timm/edgenext_xx_small timm/poolformer_s12
timm/vit_tiny_r_s16_p8_224 timm/selecsls42 torchvision/mobilenet_v2 torchvision/densenet121 torchvision/vgg11
torchvision/swin_t
timm/resnetv2_50 timm/ecaresnet26t timm/bat_resnext26ts timm/botnet26t_256 timm/halonet26t timm/efficientnet_lite0
timm/efficientnetv2_rw_t timm/mnasnet_small timm/tinynet_e timm/regnetx_002 timm/convnextv2_atto timm/densenet121
timm/rdnet_tiny timm/vovnet39a timm/hgnetv2_b0 timm/hrnet_w18_small timm/mobileone_s0 timm/fastvit_t8
timm/efficientvit_b0 timm/efficientformer_l1 timm/convmixer_768_32 timm/swin_tiny_patch4_window7_224
timm/coatnet_nano_cc_224 timm/levit_conv_128s timm/pvt_v2_b0 timm/twins_svt_small timm/repghostnet_050
timm/inception_v3 timm/nfnet_l0 torchvision/resnet18 torchvision/shufflenet_v2_x0_5 torchvision/googlenet
torchvision/mnasnet0_5 torchvision/efficientnet_b0 torchvision/alexnet torchvision/regnet_x_400mf
torchvision/convnext_tiny torchvision/maxvit_t
"""
SAMPLE = [*SHORT.split(), *(pytest.param(name, marks=pytest.mark.long) for name in LONG.split())]
ENTRIES = {entry.spec: entry for entry in entries()}


def test_the_sample_covers_at_least_forty_networks_of_the_list() -> None:
    names = {*SHORT.split(), *LONG.split()}
    assert len(names) >= 40
    assert names <= set(ENTRIES)


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

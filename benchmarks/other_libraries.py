"""Networks of libraries that hmhsa-insert was not made with, each built without weights and without downloads.

A network is named by what makes it, so that ``hmhsa-insert zoo --networks benchmarks/other_libraries.txt`` can build it
as ``other_libraries:NAME``; `python benchmarks/other_libraries.py` prints the list. What it needs, beside
hmhsa-insert: `pip install --no-deps segmentation-models-pytorch pytorchcv efficientnet_pytorch resnest monai
transformers tokenizers regex lightly torchxrayvision open_clip_torch ftfy wcwidth kornia kornia_rs pretrainedmodels
munch einops`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from torch import nn

_PYTORCHCV = """
resnet10 preresnet10 resnext14_16x4d seresnet10 sepreresnet10 densenet121 condensenet74_c4_g4 shufflenet_g1_w1
shufflenetv2_wd2 menet108_8x1_g3 mobilenet_wd4 fdmobilenet_wd4 nasnet_4a1056 darknet_tiny darknet53 squeezenet_v1_0
squeezeresnet_v1_0 igcv3_wd4 mnasnet_small dla34 hrnet_w18_small_v1 vovnet27s selecsls42 bam_resnet18 cbam_resnet18
diracnet18v2 airnet50_1x64d_r2 drnc26 dpn68 resnesta18 efficientnet_b0 ghostnet mixnet_s spnasnet proxylessnas_cpu
fbnet_cb bninception inceptionv3 xception zfnet vgg11 peleenet sknet50 ibn_resnet50 wrn50_2 ror3_56_cifar10
resnet20_cifar10 pyramidnet110_a48_cifar10 centernet_resnet18_voc simplepose_resnet18_coco
lwopenpose2d_mobilenet_cmupan_coco deeplabv3_resnetd50b_voc
"""
_TRANSFORMERS = """
ConvNextModel ConvNextV2Model ResNetModel RegNetModel BitModel MobileNetV1Model MobileNetV2Model EfficientNetModel
SegformerModel MobileViTModel PoolFormerModel LevitModel SwinModel FocalNetModel CvtModel PvtModel SwiftFormerModel
"""

FACTORIES: dict[str, tuple[Callable[[], nn.Module], str]] = {}


def _add(name: str, size: str, module: str, factory: str, *args: Any, **kwargs: Any) -> None:
    FACTORIES[name] = partial(_build, module, factory, args, kwargs), size


def _build(module: str, factory: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module:
    made: Any = import_module(module)
    for part in factory.split("."):
        made = getattr(made, part)
    network: nn.Module = made(*args, **kwargs)
    return network


def _from_config(name: str, **options: Any) -> nn.Module:
    """Build a transformers model from its default configuration."""
    library = import_module("transformers")
    config = getattr(library, name.replace("Model", "Config"))(**options)
    network: nn.Module = getattr(library, name)(config)
    return network


for _net in (
    "Unet",
    "UnetPlusPlus",
    "MAnet",
    "Linknet",
    "FPN",
    "PSPNet",
    "PAN",
    "DeepLabV3",
    "DeepLabV3Plus",
    "UPerNet",
):
    _add(f"smp_{_net}", "128x128", "segmentation_models_pytorch", _net, "resnet18", encoder_weights=None)
for _encoder in (
    "mobilenet_v2",
    "efficientnet-b0",
    "densenet121",
    "vgg11_bn",
    "xception",
    "mit_b0",
    "dpn68",
    "se_resnet50",
):
    _name = f"smp_Unet_{_encoder.replace('-', '_')}"
    _add(_name, "128x128", "segmentation_models_pytorch", "Unet", _encoder, encoder_weights=None)
for _net in _PYTORCHCV.split():
    _size = "32x32" if "cifar" in _net else "480x480" if "_voc" in _net else "224x224"
    _size = "299x299" if _net in ("inceptionv3", "xception") else "256x192" if "_coco" in _net else _size
    _add(f"pytorchcv_{_net}", _size, "pytorchcv.model_provider", "get_model", _net)
_add(
    "efficientnet_pytorch_b0", "224x224", "efficientnet_pytorch", "EfficientNet.from_name", "efficientnet-b0"
)
_add("resnest_resnest50", "224x224", "resnest.torch", "resnest50", pretrained=False)
_monai = {"spatial_dims": 2, "in_channels": 3, "out_channels": 2}
_add(
    "monai_UNet",
    "96x96",
    "monai.networks.nets",
    "UNet",
    **_monai,
    channels=(8, 16, 32),
    strides=(2, 2),
    num_res_units=2,
)
_add(
    "monai_AttentionUnet",
    "96x96",
    "monai.networks.nets",
    "AttentionUnet",
    **_monai,
    channels=(8, 16, 32),
    strides=(2, 2),
)
_add("monai_DenseNet121", "128x128", "monai.networks.nets", "DenseNet121", **_monai)
_add("monai_SwinUNETR", "128x128", "monai.networks.nets", "SwinUNETR", **_monai, feature_size=12)
for _net in ("BasicUNet", "SegResNet", "HighResNet"):
    _add(f"monai_{_net}", "96x96", "monai.networks.nets", _net, **_monai)
_add(
    "monai_EfficientNetBN",
    "128x128",
    "monai.networks.nets",
    "EfficientNetBN",
    "efficientnet-b0",
    pretrained=False,
    spatial_dims=2,
)
_add(
    "monai_resnet18",
    "128x128",
    "monai.networks.nets",
    "resnet18",
    spatial_dims=2,
    n_input_channels=3,
    num_classes=4,
)
_add(
    "monai_FlexibleUNet",
    "128x128",
    "monai.networks.nets",
    "FlexibleUNet",
    3,
    2,
    "efficientnet-b0",
    spatial_dims=2,
)
for _net in _TRANSFORMERS.split():
    FACTORIES[f"transformers_{_net}"] = partial(_from_config, _net), "224x224"
_add("lightly_ResNetGenerator", "32x32", "lightly.models", "ResNetGenerator", "resnet-18")
_add("torchxrayvision_DenseNet", "1x224x224", "torchxrayvision.models", "DenseNet", weights=None)
_add(
    "open_clip_ModifiedResNet",
    "224x224",
    "open_clip.modified_resnet",
    "ModifiedResNet",
    (1, 1, 1, 1),
    64,
    8,
    224,
    32,
)
_add("kornia_HardNet", "1x32x32", "kornia.feature", "HardNet", pretrained=False)
_add("kornia_DISK", "128x128", "kornia.feature", "DISK")
for _net, _file in (
    ("bninception", "bninception"), ("nasnetamobile", "nasnet_mobile"), ("xception", "xception"),
    ("dpn68", "dpn"), ("cafferesnet101", "cafferesnet"),
):  # fmt: skip
    _size = "299x299" if _net == "xception" else "224x224"
    _add(f"pretrainedmodels_{_net}", _size, f"pretrainedmodels.models.{_file}", _net, pretrained=None)


def __getattr__(name: str) -> Callable[[], nn.Module]:
    try:
        return FACTORIES[name][0]
    except KeyError:
        raise AttributeError(name) from None


if __name__ == "__main__":
    for name, (_, size) in FACTORIES.items():
        print(f"other_libraries:{name} {size}")

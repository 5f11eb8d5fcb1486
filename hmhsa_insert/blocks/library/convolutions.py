"""Rows of convolutions, pools, recurrence and MLPs over positions."""

from __future__ import annotations

from hmhsa_insert.blocks.library.row import APPLE, MIT, Row, found

_IN_OUT = ("in_chs", "out_chs")
_EFFICIENTNET = "timm.models._efficientnet_blocks"

CONVOLUTIONS = (
    Row(
        *("sep_conv", "timm.models.metaformer:SepConv", "separable convolution of MetaFormer", "2210.13452"),
    ),
    Row(
        *("pooling", "timm.models.metaformer:Pooling", "pooling of PoolFormer", "2111.11418"),
        channels=(),
    ),
    Row(
        *("rep_mixer", "timm.models.fastvit:RepMixer", "RepMixer of FastViT", "2303.14189"),
        licence=APPLE,
        fixed={"layer_scale_init_value": None, "inference_mode": False},
        residual=True,
    ),
    Row(
        *("rep_mixer_block", "timm.models.fastvit:RepMixerBlock", "RepMixer block of FastViT", "2303.14189"),
        licence=APPLE,
        fixed={"layer_scale_init_value": None, "inference_mode": False},
        residual=True,
    ),
    Row(
        *("star_block", "timm.models.starnet:Block", "block of StarNet", "2403.19967"),
        residual=True,
    ),
    Row(
        *("metanext", "timm.models.inception_next:MetaNeXtBlock", "block of InceptionNeXt", "2303.16900"),
        fixed={"ls_init_value": None},
        residual=True,
    ),
    Row(
        *("inception_dwconv", "timm.models.inception_next:InceptionDWConv2d"),
        *("depthwise convolutions of InceptionNeXt", "2303.16900"),
        channels=("in_chs",),
    ),
    Row(
        *("convnext", "timm.models.convnext:ConvNeXtBlock", "block of ConvNeXt", "2201.03545"),
        licence=MIT,
        channels=_IN_OUT,
        fixed={"ls_init_value": None, "stride": 1, "use_grn": False},
        residual=True,
    ),
    Row(
        *("convnext_v2", "timm.models.convnext:ConvNeXtBlock", "block of ConvNeXt v2", "2301.00808"),
        licence=MIT,
        channels=_IN_OUT,
        fixed={"ls_init_value": None, "stride": 1, "use_grn": True},
        residual=True,
    ),
    Row(
        *("edgenext_conv", "timm.models.edgenext:ConvBlock", "convolution block of EdgeNeXt", "2206.10589"),
        licence=MIT,
        channels=("dim", "dim_out"),
        fixed={"ls_init_value": 0.0, "stride": 1},
        residual=True,
    ),
    Row(
        *("nextvit_conv", "timm.models.nextvit:NextConvBlock", "convolution block of Next-ViT", "2207.05501"),
        channels=_IN_OUT,
        head="head_dim",
        residual=True,
    ),
    Row(
        *("inverted_residual", f"{_EFFICIENTNET}:InvertedResidual"),
        *("inverted residual of MobileNetV2", "1801.04381"),
        channels=_IN_OUT,
        fixed={"noskip": False, "s2d": 0},
        options={"exp_ratio": 4.0},
        residual=True,
    ),
    Row(
        *("universal_inverted_residual", f"{_EFFICIENTNET}:UniversalInvertedResidual"),
        *("universal inverted bottleneck of MobileNetV4", "2404.10518"),
        channels=_IN_OUT,
        fixed={"noskip": False, "layer_scale_init_value": None},
        options={"exp_ratio": 4.0},
        residual=True,
    ),
    Row(
        *("edge_residual", f"{_EFFICIENTNET}:EdgeResidual", "fused inverted residual", "2104.00298"),
        channels=_IN_OUT,
        fixed={"noskip": False, "force_in_chs": 0},
        options={"exp_ratio": 4.0},
        residual=True,
    ),
    Row(
        *("depthwise_separable", f"{_EFFICIENTNET}:DepthwiseSeparableConv"),
        *("depthwise separable convolution", "1704.04861"),
        channels=_IN_OUT,
        fixed={"noskip": False, "s2d": 0},
        residual=True,
    ),
    Row(
        *("rep_vit", "timm.models.repvit:RepViTBlock", "block of RepViT", "2307.09283"),
        channels=("in_dim",),
        derived=lambda options, inp: {"act_layer": found("torch.nn:GELU")},
        options={"mlp_ratio": 2, "kernel_size": 3, "use_se": False},
        wakes=True,
    ),
    Row(
        *("ghost_module", "timm.models.ghostnet:GhostModule", "ghost module of GhostNet", "1911.11907"),
        channels=_IN_OUT,
    ),
    Row(
        *("ghost_module_v2", "timm.models.ghostnet:GhostModuleV2"),
        *("ghost module of GhostNet v2", "2211.12905"),
        channels=_IN_OUT,
    ),
    Row(
        *("rep_ghost", "timm.models.repghost:RepGhostModule", "RepGhost module", "2211.06088"),
        channels=_IN_OUT,
    ),
    Row(
        *("partial_conv", "timm.models.fasternet:MLPBlock"),
        *("partial convolution block of FasterNet", "2303.03667"),
        licence=MIT,
        fixed={"layer_scale_init_value": 0.0},
        options={"n_div": 4, "mlp_ratio": 2.0, "drop_path": 0.0},
        residual=True,
    ),
    Row(
        *("gated_conv", "timm.models.mambaout:GatedConvBlock"),
        *("gated convolution block of MambaOut", "2405.07992"),
        layout="NHWC",
        residual=True,
    ),
    Row(
        *("efficientformer_block", "timm.models.efficientformer:MetaBlock2d"),
        *("pooling block of EfficientFormer", "2206.01191"),
        fixed={"layer_scale_init_value": 1.0},
        residual=True,
    ),
    Row(
        *("sequencer", "timm.models.sequencer:Sequencer2dBlock"),
        *("block of Sequencer2D, of LSTMs", "2205.01972"),
        layout="NHWC",
        derived=lambda options, inp: {"hidden_size": max(1, inp.channels // 4)},
        residual=True,
    ),
    Row(
        *("mixer", "timm.models.mlp_mixer:MixerBlock", "block of MLP-Mixer", "2105.01601"),
        layout="tokens",
        tokens="seq_len",
        residual=True,
    ),
    Row(
        *("res_mlp", "timm.models.mlp_mixer:ResBlock", "block of ResMLP", "2105.03404"),
        layout="tokens",
        tokens="seq_len",
        fixed={"init_values": 1.0},
        residual=True,
    ),
    Row(
        *("g_mlp", "timm.models.mlp_mixer:SpatialGatingBlock", "block of gMLP", "2105.08050"),
        layout="tokens",
        tokens="seq_len",
        residual=True,
    ),
    Row(
        *("deform_conv", "torchvision.ops:DeformConv2d", "modulated deformable convolution", "1811.11168"),
        layout="NCHW with offsets",
        licence="BSD-3-Clause",
        channels=("in_channels", "out_channels"),
        fixed={"padding": 0},
        options={"kernel_size": 3},
        derived=lambda options, inp: {"padding": options.dilation * (options.kernel_size - 1) // 2},
    ),
)

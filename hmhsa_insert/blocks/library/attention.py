"""Rows of attention over the whole map or over channels, softmax or linear, and of its kin."""

from __future__ import annotations

from typing import Any

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.fields import head_size
from hmhsa_insert.blocks.library.row import APPLE, MIT, Row, found

_VIT = "2010.11929"
_MAXXVIT = "timm.models.maxxvit"
_IN_OUT = ("in_chs", "out_chs")


def _coatnet(options: Any, inp: MapSize) -> dict[str, Any]:
    """Return the configuration of CoAtNet's block, and its relative positions."""
    cfg = found(f"{_MAXXVIT}:MaxxVitTransformerCfg")(dim_head=head_size(options.head_dim, inp.channels))
    positions = found(f"{_MAXXVIT}:get_rel_pos_cls")(cfg, (inp.height, inp.width))
    return {"cfg": cfg, "rel_pos_cls": positions}


ATTENTION = (
    Row(
        *("attention2d", "timm.layers.attention2d:Attention2d", "attention", "1706.03762"),
        heads="num_heads",
    ),
    Row(
        *("multi_query_attention2d", "timm.layers.attention2d:MultiQueryAttention2d"),
        *("multi-query attention with strides (MobileNetV4)", "2404.10518"),
        heads="num_heads",
    ),
    Row(
        *("multi_query_attention_v2", "timm.layers.attention2d:MultiQueryAttentionV2"),
        *("multi-query attention", "1911.02150"),
        heads="num_heads",
    ),
    Row(
        *("mobile_attention", "timm.models._efficientnet_blocks:MobileAttention"),
        *("attention block of MobileNetV4", "2404.10518"),
        channels=_IN_OUT,
        heads="num_heads",
        fixed={"layer_scale_init_value": None},
        residual=True,
    ),
    Row(
        *("attention", "timm.layers.attention:Attention", "attention of ViT", _VIT),
        layout="tokens",
        heads="num_heads",
    ),
    Row(
        *("diff_attention", "timm.layers.diff_attention:DiffAttention"),
        *("differential attention", "2410.05258"),
        layout="tokens",
        heads="num_heads",
    ),
    Row(
        *("vit_block", "timm.models.vision_transformer:Block", "block of ViT", _VIT),
        layout="tokens",
        heads="num_heads",
        residual=True,
    ),
    Row(
        *("vit_post_norm_block", "timm.models.vision_transformer:ResPostBlock"),
        *("block of ViT with norms after its branches", "2111.09883"),
        layout="tokens",
        heads="num_heads",
        residual=True,
        wakes=True,
    ),
    Row(
        *("vit_parallel_block", "timm.models.vision_transformer:ParallelScalingBlock"),
        *("block of ViT-22B, attention and MLP in parallel", "2302.05442"),
        layout="tokens",
        heads="num_heads",
        residual=True,
    ),
    Row(
        *("talking_heads", "timm.models.cait:TalkingHeadAttn"),
        *("talking-heads attention of CaiT", "2103.17239"),
        layout="tokens",
        heads="num_heads",
    ),
    Row(
        *("transformer2d", f"{_MAXXVIT}:TransformerBlock2d", "block of CoAtNet", "2106.04803"),
        channels=("dim", "dim_out"),
        head="dim_head",
        derived=_coatnet,
        sized=True,
        residual=True,
    ),
    Row(
        *("channel_block", "timm.models.davit:ChannelBlock", "channel attention of DaViT", "2204.03645"),
        licence=MIT,
        heads="num_heads",
        residual=True,
    ),
    Row(
        *("focal_modulation", "timm.models.focalnet:FocalModulation", "focal modulation", "2203.11926"),
        licence=MIT,
        options={"focal_window": 3, "focal_level": 2},
    ),
    Row(
        *("focalnet_block", "timm.models.focalnet:FocalNetBlock", "block of FocalNet", "2203.11926"),
        licence=MIT,
        fixed={"layerscale_value": None},
        residual=True,
    ),
    Row(
        *("lite_mla", "timm.models.efficientvit_mit:LiteMLA"),
        *("multi-scale linear attention (EfficientViT, MIT)", "2205.14756"),
        channels=("in_channels", "out_channels"),
    ),
    Row(
        *("efficientvit_block", "timm.models.efficientvit_mit:EfficientVitBlock"),
        *("block of EfficientViT (MIT)", "2205.14756"),
        channels=("in_channels",),
        head="head_dim",
        residual=True,
    ),
    Row(
        *("fastvit_attention", "timm.models.fastvit:AttentionBlock"),
        *("attention block of FastViT", "2303.14189"),
        licence=APPLE,
        fixed={"layer_scale_init_value": None},
        residual=True,
    ),
    Row(
        *("mobilevit", "timm.models.mobilevit:MobileVitBlock", "block of MobileViT", "2110.02178"),
        licence=APPLE,
        channels=_IN_OUT,
        options={"patch_size": 2},
    ),
    Row(
        *("mobilevit_v2", "timm.models.mobilevit:MobileVitV2Block", "block of MobileViT v2", "2206.02680"),
        licence=APPLE,
        channels=_IN_OUT,
        options={"patch_size": 2},
        multiple="patch_size",
    ),
    Row(
        *("shsa", "timm.models.shvit:SHSA", "single-head attention of SHViT", "2401.16456"),
        options={"qk_dim": 16},
        derived=lambda options, inp: {"pdim": max(1, round(inp.channels / 4.67))},
        wakes=True,
    ),
    Row(
        *("nextvit_attention", "timm.models.nextvit:NextTransformerBlock"),
        *("attention block of Next-ViT", "2207.05501"),
        channels=_IN_OUT,
        # Next-ViT's own share of attention, 0.75, leaves no channel for the convolution of 64.
        options={"head_dim": 16, "mix_block_ratio": 0.5, "drop_path": 0.0},
    ),
    Row(
        *("additive_attention", "timm.models.swiftformer:EfficientAdditiveAttention"),
        *("efficient additive attention of SwiftFormer", "2303.15446"),
        channels=("in_dims", "token_dim"),
    ),
    Row(
        *("swiftformer_block", "timm.models.swiftformer:Block", "block of SwiftFormer", "2303.15446"),
        fixed={"layer_scale_init_value": 1.0},
        residual=True,
    ),
    Row(
        *("outlook_attention", "timm.models.volo:OutlookAttention"),
        *("outlook attention of VOLO", "2106.13112"),
        layout="NHWC",
        heads="num_heads",
        fixed={"stride": 1},
    ),
    Row(
        *("outlooker", "timm.models.volo:Outlooker", "outlooker of VOLO", "2106.13112"),
        layout="NHWC",
        heads="num_heads",
        fixed={"kernel_size": 3, "padding": 1, "stride": 1},
        residual=True,
    ),
    Row(
        *("xca", "timm.models.xcit:XCA", "cross-covariance attention", "2106.09681"),
        layout="tokens",
        heads="num_heads",
    ),
    Row(
        *("xcit_block", "timm.models.xcit:XCABlock", "block of XCiT", "2106.09681"),
        layout="tokens H W",
        heads="num_heads",
        residual=True,
    ),
    Row(
        *("split_transpose", "timm.models.edgenext:SplitTransposeBlock"),
        *("SDTA block of EdgeNeXt", "2206.10589"),
        licence=MIT,
        heads="num_heads",
        fixed={"ls_init_value": 1.0},
        options={"num_scales": 2},
        residual=True,
    ),
    Row(
        *("pvt_attention", "timm.models.pvt_v2:Attention"),
        *("spatial-reduction attention of PVT v2", "2106.13797"),
        layout="tokens (H, W)",
        heads="num_heads",
        options={"sr_ratio": 2},
    ),
    Row(
        *("pvt_block", "timm.models.pvt_v2:Block", "block of PVT v2", "2106.13797"),
        layout="tokens (H, W)",
        heads="num_heads",
        options={"sr_ratio": 2},
        residual=True,
    ),
    Row(
        *("twins_global", "timm.models.twins:GlobalSubSampleAttn"),
        *("sub-sampled global attention of Twins", "2104.13840"),
        layout="tokens (H, W)",
        heads="num_heads",
        options={"sr_ratio": 2},
    ),
    Row(
        *("levit_attention", "timm.models.levit:Attention", "attention of LeViT", "2104.01136"),
        layout="tokens",
        size="resolution",
        options={"key_dim": 16},
        fixed={"use_conv": False},
        wakes=True,
    ),
    Row(
        *("efficientformer_attention", "timm.models.efficientformer:Attention"),
        *("attention of EfficientFormer", "2206.01191"),
        layout="tokens",
        size="resolution",
    ),
    Row(
        *("efficientformer_v2_attention", "timm.models.efficientformer_v2:Attention2d"),
        *("attention of EfficientFormer v2", "2212.08059"),
        size="resolution",
        fixed={"stride": None},
    ),
    Row(
        *("visformer_attention", "timm.models.visformer:Attention", "attention of Visformer", "2104.12533"),
        heads="num_heads",
    ),
    Row(
        *("lowformer_attention", "timm.models.lowformer:ConvAttention"),
        *("convolutional attention of LowFormer", "2409.03460"),
        channels=("input_dim",),
    ),
    Row(
        *("iformer_attention", "timm.models.iformer:SHMA"),
        *("single-head modulation attention of iFormer", "2501.15369"),
    ),
)

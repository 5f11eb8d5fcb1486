"""Rows of attention in windows, and in grids."""

from __future__ import annotations

from typing import Any

from hmhsa_insert.blocks.base import MapSize
from hmhsa_insert.blocks.fields import head_size
from hmhsa_insert.blocks.library.row import MIT, Row, found

_MAXXVIT = "timm.models.maxxvit"


def _maxxvit(options: Any, inp: MapSize) -> dict[str, Any]:
    """Return the configuration that blocks of MaxViT take."""
    window = (options.window_size, options.window_size)
    cfg = found(f"{_MAXXVIT}:MaxxVitTransformerCfg")
    dim_head = head_size(options.head_dim, inp.channels)
    return {"cfg": cfg(dim_head=dim_head, window_size=window, grid_size=window)}


def _cascaded(options: Any, inp: MapSize) -> dict[str, Any]:
    """Return the ratio with which the values of all heads are C wide, and the side of the map."""
    ratio = inp.channels / (options.num_heads * options.key_dim)
    return {"attn_ratio": ratio, "resolution": max(inp.height, inp.width)}


WINDOWED = (
    Row(
        *("window_attention", f"{_MAXXVIT}:PartitionAttention2d", "window attention of MaxViT", "2204.01697"),
        head="dim_head",
        fixed={"partition_type": "block"},
        options={"window_size": 7},
        derived=_maxxvit,
        multiple="window_size",
        residual=True,
    ),
    Row(
        *("grid_attention", f"{_MAXXVIT}:PartitionAttention2d", "grid attention of MaxViT", "2204.01697"),
        head="dim_head",
        fixed={"partition_type": "grid"},
        options={"window_size": 7},
        derived=_maxxvit,
        multiple="window_size",
        residual=True,
    ),
    Row(
        *("swin", "timm.models.swin_transformer:SwinTransformerBlock", "block of Swin", "2103.14030"),
        layout="NHWC",
        licence=MIT,
        size="input_resolution",
        options={"dynamic_mask": True},
        resizes=True,
        heads="num_heads",
        residual=True,
    ),
    Row(
        *("swin_v2", "timm.models.swin_transformer_v2:SwinTransformerV2Block"),
        *("block of Swin v2", "2111.09883"),
        layout="NHWC",
        licence=MIT,
        size="input_resolution",
        options={"dynamic_mask": True},
        resizes=True,
        heads="num_heads",
        residual=True,
    ),
    Row(
        *("tiny_vit", "timm.models.tiny_vit:TinyVitBlock", "block of TinyViT", "2207.10666"),
        layout="NHWC",
        heads="num_heads",
        residual=True,
    ),
    Row(
        *("sam_block", "timm.models.vision_transformer_sam:Block", "block of SAM's ViT", "2304.02643"),
        layout="NHWC",
        heads="num_heads",
        options={"window_size": 14},
        residual=True,
    ),
    Row(
        *("local_window_attention", "timm.models.efficientvit_msra:LocalWindowAttention"),
        *("cascaded group attention in windows (EfficientViT, MSRA)", "2305.07027"),
        licence=MIT,
        fixed={"resolution": 14},
        options={"key_dim": 16, "num_heads": 4},
        derived=_cascaded,
        sized=True,
        resizes=True,
        wakes=True,
    ),
    Row(
        *("spatial_block", "timm.models.davit:SpatialBlock", "window attention of DaViT", "2204.03645"),
        licence=MIT,
        heads="num_heads",
        residual=True,
    ),
    Row(
        *("twins_local", "timm.models.twins:LocallyGroupedAttn"),
        *("locally grouped attention of Twins", "2104.13840"),
        layout="tokens (H, W)",
        heads="num_heads",
        options={"ws": 7},
    ),
)

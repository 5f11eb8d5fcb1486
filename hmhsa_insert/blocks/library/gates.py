"""The rows of timm's ``create_attn``: gates of channels and positions, and the attention layers among them.

`nl`, `bat` and some others add their input themselves. Recipes have had them as they are since the first version, so
they are scaled as a whole.
"""

from __future__ import annotations

from typing import Any

from hmhsa_insert.blocks.library.row import MIT, Row

_CHANNELS = ("channels",)
_INPUT = ("in_channels",)
_SE, _ECA, _CBAM = "1709.01507", "1910.03151", "1807.06521"
_GC, _COORD = "1904.11492", "2103.02907"
_BAT = (
    "https://openaccess.thecvf.com/content_CVPR_2020/html/Chi_Non-Local_Neural_Networks_With_Grouped_Bilinear_"
    "Attentional_Transforms_CVPR_2020_paper.html"
)


def _gate(name: str, place: str, title: str, paper: str, **more: Any) -> Row:
    return Row(name, f"timm.layers.{place}", title, paper, **{"channels": _CHANNELS, **more})


GATES = (
    _gate("se", "squeeze_excite:SEModule", "squeeze and excitation", _SE),
    _gate("ese", "squeeze_excite:EffectiveSEModule", "effective squeeze and excitation", "1911.06667"),
    _gate("eca", "eca:EcaModule", "efficient channel attention", _ECA, licence=MIT),
    _gate(
        *("ecam", "eca:EcaModule", "efficient channel attention with an MLP", _ECA),
        licence=MIT,
        fixed={"use_mlp": True},
    ),
    _gate("ceca", "eca:CecaModule", "circular efficient channel attention", _ECA, licence=MIT),
    # timm 1.0.31 cannot build the MLP: it passes arguments twice. Without it, it is the paper's GE without parameters.
    _gate(
        *("ge", "gather_excite:GatherExcite", "gather and excite", "1810.12348"),
        options={"use_mlp": False},
        derived=lambda options, inp: {"feat_size": (inp.height, inp.width)} if options.extra_params else {},
        sized="extra_params",
    ),
    _gate("gc", "global_context:GlobalContext", "global context", _GC),
    _gate(
        *("gca", "global_context:GlobalContext", "global context, added", _GC),
        fixed={"fuse_add": True, "fuse_scale": False},
    ),
    _gate("cbam", "cbam:CbamModule", "convolutional block attention", _CBAM),
    _gate("lcbam", "cbam:LightCbamModule", "light convolutional block attention", _CBAM),
    _gate("coord", "coord_attn:CoordAttn", "coordinate attention", _COORD),
    _gate("scoord", "coord_attn:SimpleCoordAttn", "simple coordinate attention", _COORD),
    _gate("ela", "coord_attn:EfficientLocalAttn", "efficient local attention", "2403.01123"),
    _gate("strip", "coord_attn:StripAttn", "strip pooling attention", _COORD),
    _gate("sk", "selective_kernel:SelectiveKernel", "selective kernels", "1903.06586", channels=_INPUT),
    _gate("splat", "split_attn:SplitAttn", "split attention", "2004.08955", channels=_INPUT),
    _gate("lambda", "lambda_layer:LambdaLayer", "lambda layer", "2102.08602", channels=("dim",)),
    _gate(
        *(
            "bottleneck",
            "bottleneck_attn:BottleneckAttn",
            "attention of bottleneck transformers",
            "2101.11605",
        ),
        channels=("dim",),
        size="feat_size",
    ),
    _gate(
        *("halo", "halo_attn:HaloAttn", "halo attention", "2103.12731"),
        channels=("dim",),
        multiple="block_size",
    ),
    _gate("nl", "non_local_attn:NonLocalAttn", "non-local block", "1711.07971", channels=_INPUT),
    _gate(
        *("bat", "non_local_attn:BatNonLocalAttn", "bilinear attentional transform", _BAT),
        channels=_INPUT,
        multiple="block_size",
    ),
)

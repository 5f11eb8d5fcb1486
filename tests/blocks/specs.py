"""Block specs that the tests share."""

SAME = {
    "hmhsa": {"type": "hmhsa", "head_dim": 8},
    "hmhsa-list": {"type": "hmhsa", "head_dim": 8, "grids": [3, 2, 2], "qkv_bias": True},
    "hmhsa-bilinear": {"type": "hmhsa", "head_dim": 8, "grids": [4, 3], "upsample": "bilinear"},
    "hmhsa-batch": {"type": "hmhsa", "head_dim": 8, "norm": "batch", "last": "literal", "grids": [4, 2]},
    "hmhsa-width": {"type": "hmhsa", "head_dim": 8, "width": 24},
    "pooled": {"type": "hmhsa_pooled", "head_dim": 8},
    "pooled-batch": {"type": "hmhsa_pooled", "head_dim": 8, "grid_size": 4, "pool": 3, "norm": "batch"},
    "pooled-global": {"type": "hmhsa_pooled", "head_dim": 8, "grid_size": 1},
    "pooled-width": {"type": "hmhsa_pooled", "head_dim": 8, "width": 8, "grid_size": 8, "pool": 8},
    "mhsa": {"type": "mhsa", "head_dim": 8},
    "mhsa-width": {"type": "mhsa", "head_dim": 8, "width": 24, "norm": "none", "qkv_bias": True},
    "transformer": {"type": "transformer", "head_dim": 8},
    "transformer-group": {
        "type": "transformer",
        "head_dim": 8,
        "norm": "group",
        "qkv_bias": True,
        "act": "silu",
    },
    "irb": {"type": "irb", "expansion": 2, "kernel_size": 5},
    "irb-group": {"type": "irb", "norm": "group", "act": "hard_swish"},
    "transcnn": {"type": "transcnn", "head_dim": 8},
    "transcnn-group": {"type": "transcnn", "head_dim": 8, "grid_size": 1, "norm": "group", "act": "relu"},
    "placebo": {"type": "placebo", "of": {"type": "hmhsa", "head_dim": 8}},
    "placebo-se": {"type": "placebo", "of": {"type": "timm/se"}},
    "matched": {"type": "matched", "of": {"type": "transcnn", "head_dim": 8}},
}
HALF = {
    "tdb": {"type": "tdb"},
    "tdb-group": {"type": "tdb", "norm": "group", "act": "relu"},
    "downsample": {"type": "downsample"},
    "downsample-none": {"type": "downsample", "norm": "none"},
}
ALL = SAME | HALF

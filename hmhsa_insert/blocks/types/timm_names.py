"""The names of timm's attention layers as recipes write them; their options are read from timm itself."""

from __future__ import annotations

PREFIX = "timm/"

# The names that timm's create_attn accepts; timm itself has no list of them.
TIMM_NAMES = (
    *(
        "se",
        "ese",
        "eca",
        "ecam",
        "ceca",
        "ge",
        "gc",
        "gca",
        "cbam",
        "lcbam",
        "coord",
        "scoord",
        "ela",
        "strip",
    ),
    *("sk", "splat", "lambda", "bottleneck", "halo", "nl", "bat"),
)

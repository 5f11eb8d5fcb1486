"""Why a stage that a recipe names is not there, in words."""

from __future__ import annotations

from hmhsa_insert.surgery.locate.no_maps import has_tokens, why_no_maps
from hmhsa_insert.surgery.locate.stages import Located


def why_no_stage(located: Located, kind: str, number: int, stride: int) -> str:
    """Return why there is no stage at a stride, and what there is."""
    reason = ""
    if has_tokens(located, stride):
        reason = f"; at stride {stride} it works on token sequences, which have no height and width"
    elif any(feature.stride == stride for feature in located.maps.values()):
        reason = f"; maps of stride {stride} exist, but not every path passes through one of them"
    return f"no {kind} {number}: {what_there_is(located)}{reason}"


def what_there_is(located: Located) -> str:
    """Return which stages, or maps, a network has."""
    strides = ", ".join(str(stage.stride) for stage in located.stages)
    numbers = ", ".join(str(stage.index) for stage in located.stages if stage.index is not None)
    if numbers:
        return f"the network's stages are {numbers} (strides {strides})"
    return f"the network has maps at strides {strides}" if strides else why_no_maps(located)

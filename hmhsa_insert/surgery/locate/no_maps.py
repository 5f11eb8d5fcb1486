"""Explain why a network has no stages: what its tensors are, if not maps of an image."""

from __future__ import annotations

from hmhsa_insert.surgery.locate.stages import Located

_WANTED = "blocks act on N×C×H×W maps"


def why_no_maps(located: Located) -> str:
    """Return the reason why no stage was found, as a sentence without its full stop."""
    if located.maps and any(node.op != "placeholder" for node in located.maps):
        return "no feature map lies on every path of this network"
    axes = {d for d in (1, 2, 3) if _works_along(located, d)}
    if axes == {1} or axes == {3}:
        what = "one spatial axis" if axes == {1} else "three spatial axes"
        return f"its maps have {what} (it works by {max(axes)}-D convolutions and pools), and {_WANTED}"
    image = located.trace.inputs.image
    if image is None:
        return f"none of its inputs ({located.trace.inputs}) is an image C×H×W, and {_WANTED}"
    if any(len(node.meta.get("shape", ())) == 4 for node in located.trace.nodes):
        return (
            f"none of its tensors is a map that grows with the image ({located.trace.inputs}), and {_WANTED}"
        )
    return f"none of its tensors is an N×C×H×W map, and {_WANTED}"


def has_tokens(located: Located, stride: int) -> bool:
    """Return True if there are N×L×C sequences with one token for each cell of a map at `stride`."""
    image = located.trace.inputs.image
    if image is None:
        return False
    # A few more tokens than cells: class tokens and the like.
    cells = (image.size[-2] // stride) * (image.size[-1] // stride)
    shapes = (node.meta.get("shape", ()) for node in located.trace.nodes)
    return any(len(s) == 3 and s[0] == located.trace.batch and cells <= s[1] <= cells + 8 for s in shapes)


def _works_along(located: Located, dimensions: int) -> bool:
    """Return True if a convolution or pool over this number of spatial axes ran."""
    names = (f"conv{dimensions}d", f"conv_transpose{dimensions}d", f"pool{dimensions}d")
    functions = {str(node.meta.get("function")) for node in located.trace.nodes}
    return any(function.endswith(names) for function in functions)

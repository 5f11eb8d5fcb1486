"""The backbone of a detector: a located network whose stages feed a feature pyramid (torchvision's FPN).

The stages are found by their measured strides, never by names; each gives its last cut point, behind whatever was
inserted there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor, nn
from torch.fx import Node
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops.feature_pyramid_network import (
    ExtraFPNBlock,
    FeaturePyramidNetwork,
    LastLevelMaxPool,
    LastLevelP6P7,
)

from hmhsa_insert.detection.heads import PYRAMID_CHANNELS, norm_layer
from hmhsa_insert.detection.taps import Tap, add_taps
from hmhsa_insert.detection.trim import parameters_until, trimmed
from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.surgery.locate.recorder import ModuleCall
from hmhsa_insert.surgery.locate.stages import CutPoint, Host, Located, Stage, hosts_of, locate


class PyramidBackbone(nn.Module):
    """A network and the pyramid over its stages, as torchvision's detectors take a backbone.

    Attributes:
        body: the network, without what runs behind its last tapped map.
        fpn: torchvision's pyramid.
        strides: of the maps that go into it.
        out_channels: of every map that comes out.
    """

    def __init__(
        self,
        body: nn.Module,
        taps: Sequence[Tap],
        stages: Sequence[Stage],
        channels: int,
        extra: ExtraFPNBlock,
        norm: Callable[[int], nn.Module] | None,
    ) -> None:
        super().__init__()
        self.body = body
        self.strides = tuple(stage.stride for stage in stages)
        self.out_channels = channels
        self.fpn = FeaturePyramidNetwork([stage.channels for stage in stages], channels, extra, norm)
        self.frozen_norms: tuple[str, ...] = ()
        self._taps = tuple(taps)  # they are children of the body; a copy's are the copy's own

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """Return the pyramid's maps, finest first, for N×C×H×W images."""
        pyramid: OrderedDict[str, Tensor] = self.fpn(self.maps(x))
        return pyramid

    def maps(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """Return the stages' maps, finest first, each N×C×H×W."""
        self.body(x)
        return OrderedDict((str(level), tap.take()) for level, tap in enumerate(self._taps))

    def train(self, mode: bool = True) -> PyramidBackbone:
        """Set the mode; frozen norms keep their statistics."""
        super().train(mode)
        for name in self.frozen_norms:
            self.body.get_submodule(name).eval()
        return self


def pyramid_backbone(
    model: nn.Module,
    strides: Sequence[int],
    needed_by: str,
    *,
    input_size: InputSize = (3, 224, 224),
    trainable_stages: int | None = None,
    frozen_norm: bool = False,
    channels: int = PYRAMID_CHANNELS,
    group_norm: bool = False,
) -> PyramidBackbone:
    """Return `model` as a backbone with a pyramid on the stages of the given strides; `model` itself is untouched.

    Args:
        model: the network, edited or not.
        strides: of the pyramid's maps, rising; 4 to 32 gets a subsampled level on top, 8 to 32 gets P6 and P7.
        needed_by: the detector, for messages.
        input_size: ``(C, H, W)`` at which the stages are measured.
        trainable_stages: only the last so many stages of `strides` train, with whatever was inserted anywhere; None:
            all of the network does.
        frozen_norm: BatchNorms of the base network keep their statistics and do not train.
        channels: of every map of the pyramid.
        group_norm: in the pyramid.

    Raises:
        ModelError: a stride is missing, the network takes images of one size only, or it cannot be traced.
        PlanError: a stage's map is computed inside a forward that cannot be rewritten.
    """
    located = locate(model, input_size)
    body, taps, stages, ends = tapped(model, located, strides, needed_by)
    extra: ExtraFPNBlock = LastLevelMaxPool()
    if min(strides) > 4:
        extra = LastLevelP6P7(stages[-1].channels, channels)
    made = PyramidBackbone(body, taps, stages, channels, extra, norm_layer(group_norm))
    reference = next((p for p in body.parameters() if p.is_floating_point()), None)
    if reference is not None:
        made.fpn.to(reference.device, reference.dtype)
    _freeze(made, located, ends, trainable_stages, frozen_norm)
    return made.train(model.training)


def tapped(
    model: nn.Module, located: Located, strides: Sequence[int], needed_by: str
) -> tuple[nn.Module, Sequence[Tap], list[Stage], list[Node]]:
    """Return a copy of `model` that ends at the last of the given strides, its taps, and the stages and nodes of them.

    Args:
        model: the network, edited or not.
        located: its stages.
        strides: of the stages, rising.
        needed_by: what needs them, for messages.

    Raises:
        ModelError, PlanError: as :func:`pyramid_backbone`.
    """
    stages = _stages(model, located, strides, needed_by)
    nodes = {node.name: node for node in located.trace.nodes}
    points = _ends(model, located, stages)
    ends = [nodes[point.node] for point in points]
    body = trimmed(model, located, ends[-1])
    return body, add_taps(body, located, points), stages, ends


def _stages(model: nn.Module, located: Located, strides: Sequence[int], needed_by: str) -> list[Stage]:
    """Return the last stage of each stride, or say what the network has instead."""
    where = type(model).__name__
    by_stride = {stage.stride: stage for stage in located.stages}
    missing = [stride for stride in strides if stride not in by_stride]
    if missing:
        found = ", ".join(f"{s.stride} ({s.channels} channels)" for s in located.stages)
        wanted = ", ".join(map(str, missing))
        message = f"it has no stage of stride {wanted}, and {needed_by} needs {', '.join(map(str, strides))}"
        message += f"; its stages have strides {found}" if found else "; no map lies on every path through it"
        tip = "`hmhsa-insert stages MODEL` shows them; a network of tokens or of parallel branches has none"
        raise ModelError(Problem(where, message, tip))
    if located.one_size_only:
        message = f"it takes images of {located.trace.inputs} only, and {needed_by} has any size"
        tip = "some factories have an option for it, as dynamic_img_size=True or strict_img_size=False"
        raise ModelError(Problem(where, message, tip))
    return [by_stride[stride] for stride in strides]


def _ends(model: nn.Module, located: Located, stages: Sequence[Stage]) -> list[CutPoint]:
    """Return the map at each stage's end, behind the blocks that were inserted there."""
    inserted = {key for key, _ in inserted_modules(model)}
    calls = [call for call in located.trace.calls if call.qualname in inserted]
    nodes = {node.name: node for node in located.trace.nodes}
    ends = []
    for point in (stage.cut_points[-1] for stage in stages):
        node = nodes[point.node]
        for call in calls:
            if call.inputs == (node,) and _keeps(call, node):
                node = call.outputs[0][1]
        # A block may work otherwise at another size, so that its map is not among those that locate measured.
        hosts = [Host(host.qualname, path) for host, path in hosts_of(located.trace, node)]
        ends.append(replace(point, node=node.name, host=hosts[0] if hosts else None))
    return ends


def _keeps(call: ModuleCall, node: Node) -> bool:
    """Return True if `call` makes of `node` a map of the same shape, which is read in its stead."""
    alone = all(call.first <= user.meta["position"] < call.last for user in node.users)
    shapes = [made.meta["shape"] for _, made in call.outputs]
    return alone and shapes == [node.meta["shape"]]


def _freeze(
    made: PyramidBackbone, located: Located, ends: list[Node], trainable_stages: int | None, frozen_norm: bool
) -> None:
    """Stop what no loss reaches, what should stand still, and the norms if asked."""
    body = made.body
    fresh = {id(p) for _, module in inserted_modules(body) for p in module.parameters()}
    used = parameters_until(located, ends[-1])
    first = 0 if trainable_stages is None else len(ends) - trainable_stages
    if not 0 <= first <= len(ends):
        message = f"it has {len(ends)} stages to train, and {trainable_stages} were asked for"
        raise ModelError(Problem("trainable_stages", message, f"choose 0 to {len(ends)}, or None for all"))
    still = parameters_until(located, ends[first - 1]) if first else frozenset()
    for name, parameter in body.named_parameters():
        if name not in used or (name in still and id(parameter) not in fresh):
            parameter.requires_grad_(False)
    if frozen_norm:
        new = {id(part) for _, module in inserted_modules(body) for part in module.modules()}
        norms = {
            name: module
            for name, module in body.named_modules()
            if isinstance(module, _BatchNorm) and id(module) not in new
        }
        for norm in norms.values():
            norm.requires_grad_(False)
        made.frozen_norms = tuple(norms)

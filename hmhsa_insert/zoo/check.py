"""One network of the coverage run: locate it, insert at the end of every stage, verify."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.recipe import parse_recipe
from hmhsa_insert.surgery.apply import apply_plan
from hmhsa_insert.surgery.base.load import load_model
from hmhsa_insert.surgery.locate.no_maps import why_no_maps
from hmhsa_insert.surgery.locate.stages import Located, locate
from hmhsa_insert.surgery.plan import plan_located
from hmhsa_insert.surgery.proof.checks import Check
from hmhsa_insert.surgery.sites.site import Plan
from hmhsa_insert.surgery.verify import verify
from hmhsa_insert.zoo.networks import Entry

Status = Literal["ok", "refused", "failed", "timeout", "died"]
# Randomness in train mode, if the constructor has it: identity must hold with it, under one seed.
_RANDOMNESS: tuple[dict[str, Any], ...] = (
    {"drop_rate": 0.1, "drop_path_rate": 0.1},
    {"drop_rate": 0.1},
    {"dropout": 0.1, "stochastic_depth_prob": 0.1},
    {"dropout": 0.1},
    {},
)


@dataclass(frozen=True)
class ZooRow:
    """The result for one network.

    Attributes:
        network: its MODEL argument.
        input_size: ``HxW``.
        params_m: parameters in millions.
        status: ``ok``, ``refused`` (with the reason), ``failed``, ``timeout`` or ``died``.
        stages: ``stride:channels:module`` of every stage's end; ``!`` where it is in a forward.
        sites: number of stage ends that got a block.
        in_tree: how many of these are edits in the module tree.
        eval_change, train_change: max |Δ| of outputs; the second with running statistics. None if not run.
        weights_kept: True if all base keys and tensors are byte-identical.
        locate_s: CPU seconds to trace twice and locate.
        one_size: True if it takes one input size only.
        differs: stages for which timm's feature_info differs, as ``stride:ours!=timm's``.
        reason: why it was refused or failed.
    """

    network: str
    input_size: str
    params_m: float = 0.0
    status: Status = "failed"
    stages: str = ""
    sites: int = 0
    in_tree: int = 0
    eval_change: float | None = None
    train_change: float | None = None
    weights_kept: bool | None = None
    locate_s: float = 0.0
    one_size: bool = False
    differs: str = ""
    reason: str = ""


def check_network(entry: Entry) -> ZooRow:
    """Run locate → plan → apply → verify on one network; a refusal or failure is a row, not an exception."""
    facts: dict[str, Any] = {"network": entry.spec, "input_size": f"{entry.height}x{entry.width}"}
    size = (entry.channels, entry.height, entry.width)
    try:
        model = _build(entry)
        facts["params_m"] = round(sum(p.numel() for p in model.parameters()) / 1e6, 2)
        start = time.process_time()  # CPU time of this process, without other load on the machine
        located = locate(model, size)
        facts["locate_s"] = round(time.process_time() - start, 3)
        facts |= _reading(located, entry)
        if not located.stages:
            return ZooRow(**facts, status="refused", reason=why_no_maps(located))
        made = _plan_everywhere(model, located)
        facts["sites"] = len(made.sites)
        facts["in_tree"] = sum(site.in_tree for site in made.sites)
        checks = verify(model, apply_plan(model, made), gradients=False)
        return ZooRow(**facts, **_numbers(checks))
    except HmhsaInsertError as error:
        return ZooRow(**facts, status="refused", reason=str(error.problems[0]))
    except Exception as error:
        return ZooRow(**facts, status="failed", reason=f"{type(error).__name__}: {error}"[:300])


def _build(entry: Entry) -> nn.Module:
    torch.manual_seed(0)
    for kwargs in _RANDOMNESS:
        with contextlib.suppress(HmhsaInsertError):
            return load_model(entry.spec, **kwargs).model
    return load_model(entry.spec).model


def _plan_everywhere(model: nn.Module, located: Located) -> Plan:
    """Plan a small convolutional block at the end of every stage: it fits any number of channels."""
    edit = {
        "op": "insert",
        "id": "coverage",
        "at": {"stride": [stage.stride for stage in located.stages]},
        "block": {"type": "irb", "expansion": 1, "kernel_size": 3},
    }
    recipe, problems = parse_recipe({"version": 1, "name": "coverage", "edits": [edit]})
    return plan_located(model, located, recipe, problems)


def _reading(located: Located, entry: Entry) -> dict[str, Any]:
    ends = {stage.stride: stage.cut_points[-1] for stage in located.stages}
    text = ";".join(
        f"{stride}:{end.channels}:{end.qualname or '(root)'}{'' if end.host else '!'}"
        for stride, end in ends.items()
    )
    differs = [
        f"{stride}:{ends[stride].channels if stride in ends else '-'}!={channels}"
        for stride, (channels, _) in entry.feature_info.items()
        if stride not in ends or ends[stride].channels != channels
    ]
    return {"stages": text, "differs": ";".join(differs), "one_size": located.one_size_only}


def _numbers(checks: tuple[Check, ...]) -> dict[str, Any]:
    by_name = {check.name: check for check in checks}
    failed = [check for check in checks if not check.passed]
    return {
        "eval_change": by_name["eval outputs"].value,
        "train_change": by_name["train outputs"].value,
        "weights_kept": by_name["base weights"].passed,
        "status": "failed" if failed else "ok",
        "reason": f"{failed[0].name}: {failed[0].detail}" if failed else "",
    }

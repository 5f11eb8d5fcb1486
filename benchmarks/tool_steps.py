"""One step of the tool in a process of its own, for `tool.py`: ``python benchmarks/tool_steps.py STEP SIZE``.

Prints the CPU seconds of the step and the memory that it took at the most, as JSON. Imports, the network and a first,
small run of the same step come before. It uses nothing that older releases lack, so that they can be measured, too.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

import hmhsa_insert as hi
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.surgery.base.inputs import Inputs
from hmhsa_insert.surgery.locate.stages import locate
from hmhsa_insert.surgery.plan import plan_located

PROFILE = Path(__file__).parents[1] / "tests" / "fixtures" / "version_one" / "profile.json"
BLOCK = {"type": "hmhsa", "head_dim": 16, "grids": "auto"}
EDIT = {"op": "insert", "id": "hmhsa", "at": {"stage": "all", "block": "last"}, "block": BLOCK}
RECIPE = {"version": 1, "edits": [EDIT]}
Work = Callable[[], object]


class Block(nn.Module):
    """``x + relu(norm(conv(x)))``: four nodes of a graph."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.act(self.norm(self.conv(x)))


def chain(nodes: int) -> nn.Module:
    """Return a network of four stages with about `nodes` nodes."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 2, 1)]
    for _ in range(4):
        layers += [nn.Conv2d(16, 16, 3, 2, 1), *(Block(16) for _ in range(nodes // 16))]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)).eval()


def on_network(step: str, model: nn.Module, size: int, recipe: Any) -> Work:
    """Return one step of an edit, ready to run; what comes before it is done."""
    if step == "locate":
        return partial(hi.locate_stages, model, input_size=size)
    if step == "plan a located network":
        located = locate(model, Inputs.of((3, size, size)))
        return partial(plan_located, model, located, load_recipe(recipe), [])
    if step == "plan":
        return partial(hi.plan, model, recipe, input_size=size)
    if step == "apply":
        return partial(hi.apply, model, recipe, input_size=size)
    return partial(hi.verify, model, hi.apply(model, recipe, input_size=size))


def planned_study(trials: int) -> Work:
    """Return the planning of a study of so many trials, of 25 variants."""
    from hmhsa_insert.studies.plan_study import plan_study
    from hmhsa_insert.studies.study_file import load_study

    axes = {
        "attn.at.stage": [1, 2, 3, 4],
        "attn.block.head_dim": [4, 8, 16],
        "attn.position": ["after", "before"],
    }
    edit = {"op": "insert", "id": "attn", "at": {"stage": 3}, "block": {"type": "hmhsa", "head_dim": 16}}
    study = {
        "version": 1,
        "models": ["test_resnet"],
        "data": "digits",
        "seeds": max(1, trials // 25),
        "settings": "digits",
        "variants": {"plain": None, "hmhsa": {"edits": [edit], "axes": axes}},
    }
    return lambda: plan_study(load_study(study))


def reported(rows: int) -> Work:
    """Return the table of so many profiles."""
    from hmhsa_insert.reports.report import opened

    whole = json.loads(PROFILE.read_text(encoding="utf-8"))
    whole["records"] = (whole["records"] * rows)[:rows]
    file = Path(tempfile.mkdtemp()) / "profile.json"
    file.write_text(json.dumps(whole), encoding="utf-8")
    return lambda: opened([file]).tables()


def work(step: str, of: str) -> tuple[Work, Work]:
    """Return a small run of a step, and the one that is measured: `of` a number of nodes, trials or rows, or a name."""
    if step in ("study", "report"):
        make = planned_study if step == "study" else reported
        return make(25), make(int(of))
    small = on_network(step, chain(32), 64, RECIPE)
    if of.isdigit():
        return small, on_network(step, chain(int(of)), 64, RECIPE)
    name, _, size = of.partition("@")
    return small, on_network(step, timm.create_model(name), int(size or 224), "stage3.yaml")


def main() -> None:
    torch.set_num_threads(1)
    first, measured = work(*sys.argv[1:3])
    first()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    measured()
    seconds = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "mib": (after - before) / 1024}))


if __name__ == "__main__":
    main()

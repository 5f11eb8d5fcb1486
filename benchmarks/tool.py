"""How fast the tool itself is: ``python benchmarks/tool.py`` writes ``reports/tool.md``.

Start-up, how locating, planning and applying grow with the number of nodes, loading a folder against timm's own two
calls, and a profile against fvcore's count. The clock is CPU time of the process at one thread (of the child, for
start-up), which other work on the machine disturbs least; medians, and where two things are compared, of ratios taken
in turns.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import timm
import torch
from fvcore.nn import FlopCountAnalysis
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import hmhsa_insert as hi
from hmhsa_insert.costs.environment import environment

TARGET = Path(__file__).parents[1] / "reports" / "tool.md"
NODES = (500, 1000, 2000)
RECIPE = """version: 1
edits:
  - op: insert
    id: hmhsa
    at: {stage: all, block: last}
    block: {type: hmhsa, head_dim: 16, grids: auto}
    init: identity
"""


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


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one run."""
    start = time.process_time()
    work()
    return time.process_time() - start


def startup(rounds: int = 5) -> float:
    """Return the CPU seconds of ``--help``."""
    command = [sys.executable, "-c", "from hmhsa_insert.commands import app; app()", "--help"]
    times = []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return median(times)


def scaling() -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the number of nodes and the seconds of each step; apply includes locating and planning."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "all.yaml"
        recipe.write_text(RECIPE)
        size = (3, 64, 64)
        hi.plan(chain(32), recipe, input_size=size)  # imports and first calls
        for nodes in NODES:
            model = chain(nodes)
            yield (
                nodes,
                {
                    "locate": seconds(lambda model=model: hi.locate_stages(model, input_size=size)),
                    "plan": seconds(lambda model=model: hi.plan(model, recipe, input_size=size)),
                    "apply": seconds(lambda model=model: hi.apply(model, recipe, input_size=size)),
                },
            )


def loading(name: str, rounds: int = 5) -> tuple[float, float]:
    """Return the median ratio of `hi.load` to create_model and load_state_dict, and the milliseconds of the latter."""
    ratios, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "spliced"
        base = timm.create_model(name)
        hi.save(hi.apply(base, "stage3.yaml"), saved)
        weights = Path(folder) / "base.safetensors"
        save_file(base.state_dict(), weights)
        for _ in range(rounds):
            theirs.append(seconds(lambda: timm.create_model(name).load_state_dict(load_file(weights))))
            ratios.append(seconds(lambda: hi.load(saved)) / theirs[-1])
    return median(ratios), 1e3 * median(theirs)


def profiling(name: str, rounds: int = 9) -> tuple[float, float]:
    """Return the median ratio of `hi.profile` to fvcore's count alone, on real tensors, and the latter's ms."""
    model, image = timm.create_model(name).eval(), torch.randn(1, 3, 224, 224)
    ratios, theirs = [], []
    for _ in range(rounds):
        count = FlopCountAnalysis(model, image).unsupported_ops_warnings(False)
        theirs.append(seconds(count.total))
        ratios.append(seconds(lambda: hi.profile(model)) / theirs[-1])
    return median(ratios[1:]), 1e3 * median(theirs[1:])  # the first of each also imports


def main() -> None:
    torch.set_num_threads(1)
    here = environment()
    versions = here.software()
    lines = [
        "# The tool itself",
        "",
        f"`python benchmarks/tool.py` on {here.cpu} ({here.cores} cores); {versions}.",
    ]
    lines += [
        "CPU time of the process, one thread.",
        "",
        f"`--help`: {startup():.2f} s (bar: under 0.5 s).",
        "",
    ]
    lines += ["| nodes | locate | plan | apply | apply, ms a node |", "|---:|---:|---:|---:|---:|"]
    for nodes, times in scaling():
        row = " | ".join(f"{value:.2f} s" for value in times.values())
        lines.append(f"| {nodes} | {row} | {1e3 * times['apply'] / nodes:.2f} |")
    lines += [
        "",
        "`hi.load` of the spliced network against `create_model` and `load_state_dict` of the plain one",
    ]
    lines += ["(bar: at most 1.3 times; the spliced one also has the block's weights):", ""]
    lines += ["| network | ratio | plain, ms |", "|---|---:|---:|"]
    for name in ("resnet18", "resnet50", "mobilenetv2_100"):
        ratio, plain = loading(name)
        lines.append(f"| {name} | {ratio:.2f} | {plain:.0f} |")
    ratio, theirs = profiling("resnet50")
    lines += [
        "",
        f"A profile of resnet50 takes {ratio:.2f} times as long as fvcore's count alone, {theirs:.0f} ms",
        "(bar: at most 2 times; the profile includes that count as its cross-check).",
    ]
    lines += ["", "A block put in and removed again: see ResNet-50 in [speed.md](speed.md)."]
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines), f"\nwrote {TARGET}")


if __name__ == "__main__":
    main()

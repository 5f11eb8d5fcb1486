"""Whether a recipe keeps the plain network's speed.

``python benchmarks/equal_speed.py RECIPE`` writes ``reports/equal_speed.md``. Inference and training of both take turns
in one process, wall time at the threads that torch chooses; the speed is the plain step's time over the edited one's,
the median of rounds. What else a network can afford is found by ``hmhsa-insert suggest MODEL --max-latency +0%``, by
the same timing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import timm
import torch

import hmhsa_insert as hi
from hmhsa_insert.costs.environment import environment
from hmhsa_insert.costs.steps import Setting
from hmhsa_insert.costs.suggest_timed import measured
from hmhsa_insert.surgery.base.inputs import Inputs

REPORT = Path(__file__).parents[1] / "reports" / "equal_speed.md"
NETWORKS = ("resnet18", "resnet50", "mobilenetv2_100", "convnext_tiny", "efficientnet_b0", "regnety_008")
BAR = 0.97


def rows(names: list[str], recipe: str, rounds: int, device: str) -> Iterator[str]:
    """Yield a row of the table for each network."""
    inputs = Inputs.of((3, 224, 224))
    for name in names:
        base = timm.create_model(name).to(device)
        edited = hi.apply(base, recipe)
        times = measured({"": base, "edited": edited}, inputs, rounds)["edited"]
        cells = [f"{1 / each.ratio:.3f} | {1 / each.p90:.2f} to {1 / each.p10:.2f}" for each in times]
        kept = "kept" if all(1 / each.ratio >= BAR for each in times) else "**missed**"
        yield f"| {name} | {' | '.join(cells)} | {kept} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=",".join(NETWORKS), metavar="NAME,…")
    parser.add_argument("recipe")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", type=Path, default=REPORT, metavar="FILE")
    options = parser.parse_args()
    here = environment(Setting(options.device))
    lines = [
        f"# Networks with `{options.recipe}` at the plain networks' speed\n",
        f"`python benchmarks/equal_speed.py {options.recipe}` on {here.device}, {here.cpu} ({here.cores} cores), "
        f"{here.threads} threads; {here.software()}.\n"
        f"224 pixels, batch 4, float32; {options.rounds} rounds in turns, medians; bar: {BAR}.\n",
        "| network | inference | p10 to p90 | training | p10 to p90 | |\n|---|---:|---|---:|---|---|",
    ]
    for row in rows(options.networks.split(","), options.recipe, options.rounds, options.device):
        print(row, flush=True)
        lines.append(row)
    options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()

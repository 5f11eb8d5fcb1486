"""Every block at the map sizes of a network's four stages: ``python benchmarks/blocks.py``.

Writes ``reports/blocks.md``, ``.csv`` and ``.png``: parameters, MACs, what training saves for the backward pass, CPU
time in one interleaved run, and how far a token sees. ``--stages`` and ``--blocks`` take fewer, for a look.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn

from hmhsa_insert.blocks import MapSize, block_type, build_block, parse_options, refusals
from hmhsa_insert.blocks.library.attention import ATTENTION
from hmhsa_insert.blocks.library.convolutions import CONVOLUTIONS
from hmhsa_insert.blocks.library.gates import GATES
from hmhsa_insert.blocks.library.windowed import WINDOWED
from hmhsa_insert.costs.environment import environment
from hmhsa_insert.costs.latency import Timing, measure_latency
from hmhsa_insert.costs.memory import training_memory
from hmhsa_insert.training.curves import save

REPORTS = Path(__file__).parents[1] / "reports"
STAGES = {1: MapSize(64, 56, 56), 2: MapSize(128, 28, 28), 3: MapSize(256, 14, 14), 4: MapSize(512, 7, 7)}
BASE = "hmhsa"
OURS = (BASE, "hmhsa_pooled", "mhsa", "transformer", "irb", "transcnn")
KINDS = dict.fromkeys(OURS, "this package's") | {
    row.type: kind
    for kind, rows in {
        "gates": GATES,
        "attention": ATTENTION,
        "in windows": WINDOWED,
        "convolutions and others": CONVOLUTIONS,
    }.items()
    for row in rows
}
# Windows of 7 fit every one of these maps.
OPTIONS: Mapping[str, Mapping[str, Any]] = {"timm/halo": {"block_size": 7}}
REACH_STAGE = 3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--stages", type=int, nargs="+", default=list(STAGES), choices=list(STAGES))
    options.add_argument("--blocks", nargs="+", default=list(KINDS), choices=list(KINDS))
    options.add_argument("--rounds", type=int, default=9, help="timings of each block")
    given = options.parse_args()
    torch.set_num_threads(1)
    names = list(dict.fromkeys((BASE, *given.blocks)))
    rows: list[dict[str, Any]] = []
    for stage in given.stages:
        rows += measured(stage, names, given.rounds)
        write(pd.DataFrame(rows))  # after every stage, should the next be stopped


def write(frame: pd.DataFrame) -> None:
    frame.to_csv(REPORTS / "blocks.csv", index=False)
    figure = draw(frame)
    if figure is not None:
        save(figure, REPORTS / "blocks.png")
    (REPORTS / "blocks.md").write_text(page(frame), encoding="utf-8")
    print(f"wrote {REPORTS / 'blocks.md'}, blocks.csv and blocks.png")


def measured(stage: int, names: list[str], rounds: int) -> Iterator[dict[str, Any]]:
    """Yield a row for every block on the map of one stage; one that does not fit has the reason and no numbers."""
    inp = STAGES[stage]
    size = (inp.channels, inp.height, inp.width)
    built: dict[str, nn.Module] = {}
    rows = {}
    for name in names:
        print(f"stage {stage}: {name}", file=sys.stderr, flush=True)
        options, _ = parse_options({"type": name, **OPTIONS.get(name, {})})
        assert options is not None
        found = refusals(options, inp, inp.channels)
        rows[name] = {"block": name, "kind": KINDS[name], "stage": stage}
        if found:
            rows[name]["refused"] = found[0].message
            continue
        built[name] = build_block(options, inp.channels, size[1:])
        cost = block_type(name).cost(options, inp, inp.channels)
        saved = training_memory(built[name], size).saved_bytes_per_image
        rows[name] |= {"num_params": cost.num_params, "macs": cost.macs, "saved_bytes": int(saved)}
        rows[name]["reach"] = reach(built[name], inp)
    timing = Timing(rounds=rounds, warmup=1, shortest_ms=5.0, clock="process")
    for name, record in measure_latency(built, size, timing=timing).items():
        rows[name] |= {
            "latency_ms": record.latency_ms,
            "time_ratio": record.time_ratio,
            "time_ratio_p10": record.time_ratio_p10,
            "time_ratio_p90": record.time_ratio_p90,
        }
    yield from rows.values()


def reach(block: nn.Module, inp: MapSize) -> float:
    """Return the share of the map whose positions move the token at its centre: those of a nonzero gradient."""
    torch.manual_seed(0)
    block = copy.deepcopy(block).eval()
    for parameter in block.parameters():  # some begin at zero, and let nothing through
        parameter.data += 0.02 * torch.randn_like(parameter)
    x = torch.randn(1, inp.channels, inp.height, inp.width, requires_grad=True)
    token = block(x)[0, :, inp.height // 2, inp.width // 2]
    (token * torch.randn_like(token)).sum().backward()
    assert x.grad is not None
    return (x.grad[0] != 0).any(0).float().mean().item()


def draw(frame: pd.DataFrame) -> Figure | None:
    """Return the plot of cost against reach; blocks are named that no cheaper one outreaches."""
    known = frame[(frame["stage"] == REACH_STAGE) & frame["macs"].notna()].sort_values(["macs", "reach"])
    if known.empty:
        return None
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for kind, group in known.groupby("kind", sort=False):
        axes.scatter(group["macs"] / 1e6, 100 * group["reach"], label=kind, s=22, alpha=0.8)
    best = -1.0
    for row in known.itertuples():
        if row.reach > best:
            best = row.reach
            where = (row.macs / 1e6, 100 * row.reach)
            axes.annotate(row.block, where, xytext=(4, 4), textcoords="offset points", fontsize=7)
    inp = STAGES[REACH_STAGE]
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set(
        xlabel=f"million MACs on {inp.channels}×{inp.height}×{inp.width}",
        ylabel="reach: share of the map that moves the centre token (%)",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure


def page(frame: pd.DataFrame) -> str:
    here = environment()
    about = fill(
        "`python benchmarks/blocks.py`. Parameters, multiply–accumulates for one image, what one training step saves "
        "for the backward pass of one image (float32, MiB), CPU time of inference against hmhsa in the same rounds "
        "(median, and the 10 % and 90 % quantiles "
        "of the ratio; one thread, one image), and reach: the share of the map whose positions move the token at its "
        "centre, by gradient, in eval mode with random weights. Options are the defaults, but for halo's blocks of 7.",
        120,
    )
    parts = [
        "# What every block costs, and how far it sees",
        about,
        "![Cost against reach](blocks.png)",
        fill(
            f"Cost against reach at stage {REACH_STAGE}; named are those that no cheaper block outreaches.",
            120,
        ),
    ]
    missing = [str(stage) for stage in STAGES if stage not in set(frame["stage"])]
    parts += [f"Not measured in this run: stage {', '.join(missing)}."] if missing else []
    for stage, group in frame.groupby("stage"):
        inp = STAGES[stage]
        parts.append(f"## Stage {stage}: {inp.channels}×{inp.height}×{inp.width}")
        parts.append("\n".join(table(group[group["macs"].notna()].sort_values("macs"))))
        if "refused" in group:
            refused = [f"- {row.refused}" for row in group[group["refused"].notna()].itertuples()]
            parts += ["Refused:", "\n".join(refused)] if refused else []
    parts.append(f"Machine: {here.cpu}; {here.software()}.")
    return "\n\n".join(parts) + "\n"


def table(known: pd.DataFrame) -> Iterator[str]:
    yield "| block | params | MACs (M) | saved MiB | time ratio | 10 %–90 % | reach (%) |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for row in known.itertuples():
        cells = (
            row.block,
            f"{row.num_params:,.0f}",
            f"{row.macs / 1e6:,.2f}",
            f"{row.saved_bytes / 2**20:.2f}",
            f"{row.time_ratio:.2f}",
            f"{row.time_ratio_p10:.2f}–{row.time_ratio_p90:.2f}",
            f"{100 * row.reach:.0f}",
        )
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

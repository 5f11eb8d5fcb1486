"""How fast the blocks are: ``python benchmarks/speed.py`` writes ``reports/speed.{md,csv}`` and two pictures.

Every figure is a ratio of candidates that ran in turns in one process, the median over rounds with its p10 and p90.
The clock is the process's own CPU time at one thread, which other work on the machine disturbs least, and
every section runs in several processes, of which the median counts: whether the C library gives a freed map back to
the system differs from process to process, and can be half the time of a large map.
``--only stages,network,…`` measures some sections anew and keeps the others' rows. A GPU is measured by `gpu.py`.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import timm
import torch
from peers import HEAD_DIM, STAGES, PlainNetwork, candidates, large_matmul, pooled
from rich.console import Console
from speed_report import REPORTS, Row, join_runs, read, write
from torch import nn

import hmhsa_insert as hi
import hmhsa_insert.models  # registers HAT-Net
from hmhsa_insert.blocks import build_block
from hmhsa_insert.blocks.lean import set_lean
from hmhsa_insert.costs.count import count
from hmhsa_insert.costs.environment import environment
from hmhsa_insert.costs.latency import Timing, measure_latency
from hmhsa_insert.costs.memory import training_memory
from hmhsa_insert.costs.steps import Mode, Setting

MODES: tuple[Mode, ...] = ("inference", "training")
Size = tuple[int, int, int]
console = Console()


class Bench:
    """The settings of a run; :meth:`compare` is the one way anything is timed.

    Args:
        rounds: timings of each candidate.
    """

    def __init__(self, rounds: int) -> None:
        self.timing = Timing(rounds=rounds, warmup=2, clock="process")

    def compare(
        self,
        section: str,
        models: Mapping[str, nn.Module],
        size: Size,
        batch: int,
        mode: Mode,
        channels_last: bool = False,
    ) -> Iterator[Row]:
        """Time `models` in turns; `speed` is how many times as fast as the first of them."""
        setting = Setting("cpu", torch.float32, channels_last=channels_last)
        # Each candidate is compiled afresh: many sizes of one class would reach dynamo's limit and run eager.
        torch._dynamo.reset()
        records = measure_latency(models, size, mode, batch, timing=self.timing, setting=setting)
        for name, record in records.items():
            row: Row = {"section": section, "candidate": name, "setting": "float32", "mode": mode}
            row |= {
                "batch": str(batch),
                "size": "×".join(map(str, size)),
                "ms": f"{record.latency_ms:.3f}",
                "rounds": str(record.rounds),
                "speed": f"{1 / record.time_ratio:.3f}",
                "speed_p10": f"{1 / record.time_ratio_p90:.3f}",
                "speed_p90": f"{1 / record.time_ratio_p10:.3f}",
            }
            console.print(f"{section} {row['size']} {mode} {name}: {row['speed']}", highlight=False)
            yield row


def stages(bench: Bench) -> Iterator[Row]:
    """Every candidate at every stage of HAT-Net-Small, with what it saves and its share of the matmul rate."""
    rate = matmul_rate()
    for stage in STAGES:
        size = (stage.channels, stage.side, stage.side)
        models = candidates(stage)
        feature_map = stage.channels * stage.side**2 * 4
        for mode in MODES:
            for row in bench.compare(stage.name, models, size, 8, mode):
                model = models[str(row["candidate"])]
                row["saved_maps"] = f"{training_memory(model, size).saved_bytes_per_image / feature_map:.3f}"
                if mode == "inference":
                    row["matmul_share"] = (
                        f"{8 * count(model, size).macs / (float(row['ms']) / 1e3) / rate:.3f}"
                    )
                yield row


def matmul_rate() -> float:
    """Return multiply-accumulates per second of a large product on one CPU thread."""
    multiply, macs = large_matmul()
    times = []
    for _ in range(20):
        start = time.process_time()
        multiply()
        times.append(time.process_time() - start)
    return macs / sorted(times)[len(times) // 2]


def network(bench: Bench) -> Iterator[Row]:
    """HAT-Net-Small whole: plain, ours, ours lean; and both compiled, against the plain one in eager mode."""
    ours = timm.create_model("hat_net_small")
    lean = set_lean(timm.create_model("hat_net_small"))
    models = {
        "plain definition": PlainNetwork(timm.create_model("hat_net_small")),
        "ours": ours,
        "ours lean": lean,
    }
    size = (3, 224, 224)
    for mode in MODES:
        for row in bench.compare("HAT-Net-Small", models, size, 4, mode):
            model = models[str(row["candidate"])]
            row["saved_mib"] = f"{training_memory(model, size).saved_bytes_per_image / 2**20:.3f}"
            yield row


def compiled(bench: Bench) -> Iterator[Row]:
    """HAT-Net-Small compiled with frozen weights, against the plain definition in eager mode."""
    plain, ours = PlainNetwork(timm.create_model("hat_net_small")), timm.create_model("hat_net_small")
    models = {"plain definition": plain.eval(), "plain compiled": torch.compile(plain), "ours": ours.eval()}
    models["ours compiled"] = torch.compile(ours)
    with torch._inductor.config.patch(freezing=True):
        yield from bench.compare("HAT-Net-Small compiled", models, (3, 224, 224), 4, "inference")


def ragged(bench: Bench) -> Iterator[Row]:
    """Maps that the cells do not divide, against the map that they do; see `Find.per_token`."""
    for stage, sides in ((STAGES[0], (50, 53, 57, 63)), (STAGES[2], (13, 15, 17, 20))):
        for mode in MODES:
            block = pooled(stage)
            at: dict[str, nn.Module] = {str(side): Cropped(block, side) for side in (stage.side, *sides)}
            size = (stage.channels, max(sides), max(sides))
            yield from bench.compare(f"{stage.name} ragged", at, size, 8, mode)


class Cropped(nn.Module):
    """A block on the top left of the map it is given, so that one comparison holds several sizes."""

    def __init__(self, block: nn.Module, side: int) -> None:
        super().__init__()
        self.block, self.side = block, side

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output on the cropped map."""
        out: torch.Tensor = self.block(x[:, :, : self.side, : self.side].contiguous())
        return out


def growth(bench: Bench) -> Iterator[Row]:
    """Time and memory as the map grows fourfold, 28 to 224; global attention stops at 112, where it takes seconds."""
    specs = {
        "hmhsa": {"type": "hmhsa", "head_dim": HEAD_DIM},
        "hmhsa_pooled, pool 8": {"type": "hmhsa_pooled", "head_dim": HEAD_DIM, "grid_size": 7, "pool": 8},
        "mhsa": {"type": "mhsa", "head_dim": HEAD_DIM},
    }
    for name, spec in specs.items():
        sides = (28, 56, 112) if name == "mhsa" else (28, 56, 112, 224)
        blocks = {str(side): build_block(spec, HEAD_DIM, side) for side in sides}
        at: dict[str, nn.Module] = {side: Cropped(block, int(side)) for side, block in blocks.items()}
        for row in bench.compare(f"growth of {name}", at, (HEAD_DIM, sides[-1], sides[-1]), 1, "inference"):
            side = int(row["candidate"])
            kept = training_memory(blocks[row["candidate"]], (HEAD_DIM, side, side))
            row["saved_mib"] = f"{kept.saved_bytes_per_image / 2**20:.3f}"
            yield row


def resnet(bench: Bench) -> Iterator[Row]:
    """ResNet-50 in channels_last with shipped recipes, against the plain network; and with its block removed."""
    base = timm.create_model("resnet50")
    spliced = {name: hi.apply(base, f"{name}.yaml") for name in ("bottleneck", "stage3")}
    models = {"resnet50": base} | {f"resnet50 + {name}": model for name, model in spliced.items()}
    models["block put in and removed"] = hi.remove(spliced["stage3"])
    for mode in MODES:
        yield from bench.compare("ResNet-50", models, (3, 224, 224), 4, mode, channels_last=True)


SECTIONS: dict[str, tuple[Callable[[Bench], Iterator[Row]], tuple[str, ...]]] = {
    "stages": (stages, ("S1", "S2", "S3", "S4")),
    "network": (network, ("HAT-Net-Small",)),
    "compiled": (compiled, ("HAT-Net-Small compiled",)),
    "ragged": (ragged, ("S1 ragged", "S3 ragged")),
    "growth": (growth, ("growth of hmhsa", "growth of hmhsa_pooled, pool 8", "growth of mhsa")),
    "resnet": (resnet, ("ResNet-50",)),
}


def measure(name: str, rounds: int, turn: str) -> list[Row]:
    """Measure one section in this process; `turn` tells which of how many it is."""
    console.rule(f"{name}, process {turn}")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return list(SECTIONS[name][0](Bench(rounds)))


def measure_in_processes(name: str, rounds: int, processes: int) -> list[Row]:
    """Measure one section in fresh processes, one after another, and return the medians."""
    # Each task gets a process of its own: the memory of the one before would decide its page faults.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        turns = [f"{turn} of {processes}" for turn in range(1, processes + 1)]
        return join_runs(list(pool.map(partial(measure, name, rounds), turns)))


def heading(processes: int) -> list[str]:
    """Return what was run, where, and what the columns mean."""
    here = environment(Setting("cpu", torch.float32))
    versions = here.software()
    command = shlex.join(["python", "benchmarks/speed.py", *sys.argv[1:]])
    return [
        f"`{command}` wrote this last, on {here.cpu} ({here.cores} cores); {versions}.",
        "Sections can be measured apart, by `--only`. What falls short, and what was tried, is in",
        "[speed_tried.md](speed_tried.md).",
        "",
        "- speed: times as fast as the first candidate of its section, by CPU time of the process, at one thread,",
        "  median of rounds in turns;",
        f"  {processes} fresh processes a section, of which the median is given (lowest p10 to highest p90; the CSV",
        "  has the rounds of all); the plain definition is the released formulation, eager, NCHW;",
        "- saved: kept for backward, per image, in maps of the block's input (C) or in MiB;",
        "- matmul: share of the rate of a 1024³ matrix product on the same thread.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="timings of each candidate in one process")
    parser.add_argument("--processes", type=int, default=3, help="of each section")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    options = parser.parse_args()
    target = REPORTS / "speed.csv"
    order = [section for _, sections in SECTIONS.values() for section in sections]
    for name in options.only.split(","):
        rows = measure_in_processes(name, options.rounds, options.processes)
        # Written after every section, so that a run that is stopped loses little.
        rows += [row for row in read(target) if row["section"] not in SECTIONS[name][1]]
        rows.sort(key=lambda row: order.index(row["section"]))
        write(rows, target, heading(options.processes))
    console.print(f"wrote {target}, .md and pictures")


if __name__ == "__main__":
    main()

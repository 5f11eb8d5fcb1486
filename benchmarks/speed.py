"""How fast the blocks are: ``python benchmarks/speed.py`` writes ``reports/speed.{md,csv}`` and ``speed_growth.svg``.

Every figure is a ratio of candidates that ran in turns in one process, the median over rounds with its p10 and p90.
On a CPU the clock is the process's own CPU time at one thread, which other work on the machine disturbs little;
``--device cuda`` takes wall time, and bf16 with ``--dtype bfloat16``. ``--only stages,network,…`` does a part.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import timm
import torch
from peers import HEAD_DIM, STAGES, candidates, large_matmul, plain_copy, pooled
from rich.console import Console
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

REPORTS = Path(__file__).parents[1] / "reports"
MODES: tuple[Mode, ...] = ("inference", "training")
Row = dict[str, str | float]
Size = tuple[int, int, int]
console = Console()


class Bench:
    """The setting of a run; :meth:`compare` is the one way anything is timed.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.setting = Setting(options.device, getattr(torch, options.dtype), options.channels_last)
        clock = "process" if options.device == "cpu" else "wall"
        self.timing = Timing(rounds=options.rounds, warmup=2, clock=clock)

    def compare(
        self,
        section: str,
        models: Mapping[str, nn.Module],
        size: Size,
        batch: int,
        mode: Mode,
        setting: Setting | None = None,
    ) -> list[Row]:
        """Time `models` in turns against the first; `speed` is how many times as fast as it."""
        records = measure_latency(
            models, size, mode, batch, timing=self.timing, setting=setting or self.setting
        )
        rows: list[Row] = []
        for name, record in records.items():
            row: Row = {"section": section, "candidate": name, "mode": mode, "batch": batch}
            row |= {"size": "×".join(map(str, size)), "speed": 1 / record.time_ratio}
            row |= {"speed_p10": 1 / record.time_ratio_p90, "speed_p90": 1 / record.time_ratio_p10}
            row["ms"] = record.latency_ms
            rows.append(row)
            console.print(f"{section} {row['size']} {mode} {name}: {row['speed']:.2f}", highlight=False)
        return rows


def stages(bench: Bench) -> Iterator[Row]:
    """Every candidate at every stage of HAT-Net-Small, with what it saves and its share of the matmul rate."""
    rate = matmul_rate(bench)
    for stage in STAGES:
        size = (stage.channels, stage.side, stage.side)
        models = candidates(stage)
        feature_map = stage.channels * stage.side**2 * 4
        for mode in MODES:
            for row in bench.compare(stage.name, models, size, 8, mode):
                model = models[str(row["candidate"])]
                row["saved_maps"] = training_memory(model, size).saved_bytes_per_image / feature_map
                if mode == "inference":
                    row["matmul_share"] = 8 * count(model, size).macs / (float(row["ms"]) / 1e3) / rate
                yield row


def matmul_rate(bench: Bench) -> float:
    """Return multiply-accumulates per second of a large product, on one CPU thread; 0 elsewhere is not measured."""
    if bench.options.device != "cpu":
        return float("nan")
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
        "plain definition": plain_copy(timm.create_model("hat_net_small")),
        "ours": ours,
        "ours lean": lean,
    }
    size = (3, 224, 224)
    for mode in MODES:
        for row in bench.compare("HAT-Net-Small", models, size, 4, mode):
            model = models[str(row["candidate"])]
            row["saved_mib"] = training_memory(model, size).saved_bytes_per_image / 2**20
            yield row


def compiled(bench: Bench) -> Iterator[Row]:
    """HAT-Net-Small compiled, against the plain definition in eager mode."""
    plain, ours = plain_copy(timm.create_model("hat_net_small")), timm.create_model("hat_net_small")
    models = {"plain definition": plain.eval(), "plain compiled": torch.compile(plain), "ours": ours.eval()}
    models["ours compiled"] = torch.compile(ours)
    yield from bench.compare("HAT-Net-Small compiled", models, (3, 224, 224), 4, "inference")


def ragged(bench: Bench) -> Iterator[Row]:
    """Maps that the cells do not divide: time for a token, against the map that they do."""
    for stage, sides in ((STAGES[0], (50, 53, 57, 63)), (STAGES[2], (13, 15, 17, 20))):
        for mode in MODES:
            block = pooled(stage)
            at: dict[str, nn.Module] = {f"{s}×{s}": Cropped(block, s) for s in (stage.side, *sides)}
            size = (stage.channels, max(sides), max(sides))
            for row in bench.compare(f"{stage.name} ragged", at, size, 8, mode):
                side = int(str(row["candidate"]).partition("×")[0])
                row["cost_per_token"] = stage.side**2 / side**2 / float(row["speed"])
                yield row


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
        at: dict[str, nn.Module] = {f"{s}": Cropped(build_block(spec, HEAD_DIM, s), s) for s in sides}
        for row in bench.compare(f"growth of {name}", at, (HEAD_DIM, sides[-1], sides[-1]), 1, "inference"):
            block = at[str(row["candidate"])].block
            side = int(str(row["candidate"]))
            row["saved_mib"] = training_memory(block, (HEAD_DIM, side, side)).saved_bytes_per_image / 2**20
            yield row


def resnet(bench: Bench) -> Iterator[Row]:
    """ResNet-50 in channels_last with shipped recipes, against the plain network; and with its block removed."""
    base = timm.create_model("resnet50")
    spliced = {name: hi.apply(base, f"{name}.yaml") for name in ("bottleneck", "stage3")}
    models = {"resnet50": base} | {f"resnet50 + {name}": model for name, model in spliced.items()}
    models["block put in and removed"] = hi.remove(spliced["stage3"])
    setting = Setting(bench.options.device, bench.setting.dtype, channels_last=True)
    for mode in MODES:
        yield from bench.compare("ResNet-50", models, (3, 224, 224), 4, mode, setting)


SECTIONS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "stages": stages,
    "network": network,
    "compiled": compiled,
    "ragged": ragged,
    "growth": growth,
    "resnet": resnet,
}
FIELDS = "section candidate mode batch size speed speed_p10 speed_p90 saved_maps saved_mib matmul_share cost_per_token"


def write(rows: list[Row], bench: Bench, command: str) -> None:
    """Write the CSV, the Markdown and the picture of growth."""
    suffix = "" if bench.options.device == "cpu" else f"_{bench.options.device}_{bench.options.dtype}"
    fields = FIELDS.split()
    target = REPORTS / f"speed{suffix}.csv"
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.3f}" if isinstance(v, float) else v for k, v in row.items()})
    here = environment(bench.setting)
    lines = [
        "# Speed",
        "",
        f"`{command}` on {here.cpu if bench.options.device == 'cpu' else here.device}, torch {torch.__version__}.",
        "Speed: times as fast as the first candidate of its section, the median of rounds in turns (p10 to p90), by",
        f"{'CPU time of the process at one thread' if bench.options.device == 'cpu' else 'wall time'}. Saved: kept for"
        " the backward pass, per image, in",
        "maps of the block's input (C), or in MiB. Matmul: share of the rate of a 1024³ product. Token: time for a",
        "token, against the map that the cells divide.",
    ]
    for section in dict.fromkeys(str(row["section"]) for row in rows):
        lines += ["", f"## {section}", "", "| candidate | size | mode | speed | saved | matmul | token |"]
        lines.append("|---|---|---|---:|---:|---:|---:|")
        lines += [as_line(row) for row in rows if row["section"] == section]
    target.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    console.print(f"wrote {target} and .md")
    draw_growth([row for row in rows if str(row["section"]).startswith("growth of ")], suffix)


def as_line(row: Row) -> str:
    def text(key: str, form: str) -> str:
        return form.format(row[key]) if key in row else ""

    speed = f"{row['speed']:.2f} ({row['speed_p10']:.2f}–{row['speed_p90']:.2f})"
    saved = text("saved_maps", "{:.1f} C") or text("saved_mib", "{:.1f} MiB")
    cells = (row["candidate"], row["size"], row["mode"], speed, saved)
    return f"| {' | '.join(map(str, cells))} | {text('matmul_share', '{:.0%}')} | {text('cost_per_token', '{:.2f}')} |"


def draw_growth(rows: list[Row], suffix: str) -> None:
    if not rows:
        return
    figure, axis = plt.subplots(figsize=(6, 4))
    for section in dict.fromkeys(str(row["section"]) for row in rows):
        own = [row for row in rows if row["section"] == section]
        tokens = [int(str(row["candidate"])) ** 2 for row in own]
        axis.loglog(
            tokens, [1 / float(row["speed"]) for row in own], "o-", label=section.removeprefix("growth of ")
        )
    axis.set(xlabel="tokens", ylabel="time, 28×28 = 1", title="Inference time as the map grows")
    axis.legend()
    figure.savefig(REPORTS / f"speed_growth{suffix}.svg", bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"of {', '.join(SECTIONS)}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    bench = Bench(options)
    rows = [row for name in options.only.split(",") for row in SECTIONS[name](bench)]
    command = f"python benchmarks/speed.py --rounds {options.rounds}"
    write(rows, bench, command if options.device == "cpu" else f"{command} --device {options.device}")


if __name__ == "__main__":
    main()

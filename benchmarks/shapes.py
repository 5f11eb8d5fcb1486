"""RetinaNet and Mask R-CNN on the shapes set, with and without H-MHSA: ``python benchmarks/shapes.py``.

Makes the set (600 images of 128 pixels), trains the four detectors by the command line, one thread each and two at a
time, and writes ``reports/shapes.md``, ``.csv`` and ``.png``. Stopped and started again it goes on where it was;
``--report`` writes the report of what there is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from hmhsa_insert.costs.environment import environment
from hmhsa_insert.training.curves import save

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs" / "shapes"
REPORTS = ROOT / "reports"
DATA = RUNS / "data"
BACKBONE, RECIPE = "timm/test_resnet", "stage3"
# Fewer proposals than for COCO's images, which show 80 classes and many objects.
PROPOSALS = {
    "rpn_pre_nms_top_n_train": 500,
    "rpn_post_nms_top_n_train": 200,
    "rpn_pre_nms_top_n_test": 300,
    "rpn_post_nms_top_n_test": 100,
    "box_batch_size_per_image": 64,
}
DETECTORS: dict[str, Sequence[str]] = {
    # A detector of one stage learns what an object is from all anchors at once, and takes longer to.
    "retinanet": ("--task", "detect", "--detector", "retinanet", "--epochs", "60"),
    "maskrcnn": (
        *("--task", "segment", "--detector", "maskrcnn"),
        *(
            word
            for name, value in PROPOSALS.items()
            for word in ("--set", f"detector.options.{name}={value}")
        ),
    ),
}
TITLES = {"retinanet": "RetinaNet", "maskrcnn": "Mask R-CNN"}
COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    options.add_argument("--report", action="store_true", help="only write the report")
    given = options.parse_args()
    if not given.report:
        train_all(given.jobs)
    write_report()


def commands() -> dict[str, list[str]]:
    """Return the four trainings as arguments of the command line."""
    found = {}
    for recipe in (None, RECIPE):
        for kind, words in DETECTORS.items():
            name = kind if recipe is None else f"{kind}+{recipe}"
            edit = [] if recipe is None else ["--recipe", recipe]
            where = ["--data", str(DATA.relative_to(ROOT)), "--config", "shapes", "-o", f"runs/shapes/{name}"]
            found[name] = ["train", BACKBONE, *edit, *words, *where]
    return found


def train_all(jobs: int) -> None:
    if not DATA.exists():
        make = ["data", "make-shapes", str(DATA), "--images", "600", "--size", "128"]
        subprocess.run([sys.executable, "cli.py", *make], cwd=ROOT, check=True)
    waiting = list(commands().items())
    running: dict[int, str] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            name, command = waiting.pop(0)
            running[start(name, command)] = name
        child, status, usage = os.wait4(-1, 0)
        if child in running:
            name = running.pop(child)
            add_seconds(name, usage.ru_utime + usage.ru_stime)
            print(f"{name}: {'done' if status == 0 else f'ended with {os.waitstatus_to_exitcode(status)}'}")


def start(name: str, command: Sequence[str]) -> int:
    log = (RUNS / f"{name}.log").open("a")
    alone = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "cli.py", *command], cwd=ROOT, env=alone, stdout=log, stderr=subprocess.STDOUT
    )
    return process.pid


def add_seconds(name: str, seconds: float) -> None:
    """Add a process's CPU seconds to what the training took before it was stopped."""
    path = RUNS / "cpu_seconds.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    known[name] = known.get(name, 0.0) + seconds
    path.write_text(json.dumps(known))


def write_report() -> None:
    runs = {name: pd.read_csv(path) for name in commands() if (path := RUNS / name / "metrics.csv").is_file()}
    rows = [row for name in runs for row in result_rows(name, runs[name])]
    table = pd.DataFrame(rows)
    table.to_csv(REPORTS / "shapes.csv", index=False)
    draw(runs, REPORTS / "shapes.png")
    (REPORTS / "shapes.md").write_text(page(table), encoding="utf-8")
    print(f"wrote {REPORTS / 'shapes.md'}, shapes.csv and shapes.png")


def result_rows(name: str, metrics: pd.DataFrame) -> list[dict[str, object]]:
    """Return a row for boxes and one for masks: average precision in percent after the last epoch there is."""
    kind, _, recipe = name.partition("+")
    result_file, seconds_file = RUNS / name / "result.json", RUNS / "cpu_seconds.json"
    result = json.loads(result_file.read_text()) if result_file.is_file() else {}
    seconds = json.loads(seconds_file.read_text()) if seconds_file.is_file() else {}
    last = metrics.iloc[-1]
    rows = []
    for what in ("box", "mask"):
        if f"{what}_AP" in metrics:
            best = 100 * metrics[f"{what}_AP50"].max()
            scores = {column: round(100 * last[f"{what}_{column}"], 1) for column in COLUMNS}
            rows.append(
                {
                    "detector": TITLES[kind],
                    "backbone": BACKBONE.removeprefix("timm/") + (f" + {recipe}" if recipe else ""),
                    "of": what,
                    **scores,
                    "best AP50": round(best, 1),
                    "epochs": int(last["epoch"]),
                    "finished": "yes" if result else "no",
                    "params (M)": round(result["num_params"] / 1e6, 3) if result else None,
                    "MACs (M)": round(result["macs"] / 1e6, 1) if result else None,
                    "CPU s": round(seconds[name]) if name in seconds else None,
                }
            )
    return rows


def draw(runs: dict[str, pd.DataFrame], path: Path) -> None:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for name, metrics in runs.items():
        axes, column = (left, "box_AP50") if name.startswith("retinanet") else (right, "mask_AP50")
        title = "with H-MHSA" if "+" in name else "plain"
        axes.plot(metrics["epoch"], 100 * metrics[column], marker="o", markersize=3, label=title)
    for axes, title in ((left, "RetinaNet, AP50 of boxes (%)"), (right, "Mask R-CNN, AP50 of masks (%)")):
        axes.axhline(50, color="gray", linewidth=0.8, linestyle="--")
        axes.set(xlabel="epoch", ylabel=title)
        axes.grid(alpha=0.3)
        if axes.lines[1:]:
            axes.legend()
    save(figure, path)


def page(table: pd.DataFrame) -> str:
    here = environment()
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    for row in table.itertuples(index=False):
        lines.append("| " + " | ".join("–" if pd.isna(value) else str(value) for value in row) + " |")
    versions = here.software()
    shown = "\n".join(f"    hmhsa-insert {' '.join(command)}" for command in commands().values())
    return f"""# Detectors on the shapes set, with and without H-MHSA

`make shapes` (`python benchmarks/shapes.py`): 480 images to train on, 120 to validate, of 128 pixels, five classes;
nothing is pretrained, one seed. Average precision by pycocotools in percent, on the validation split after the last
epoch. CPU seconds are of the whole process, one thread, evaluation after every epoch included.

{chr(10).join(lines)}

![Learning curves](shapes.png)

The bar is AP50 of 50 within 15 minutes on two cores, 1,800 CPU seconds (the dashed line).
One run each: a difference between two rows is not yet one between two networks. A row that is not finished has the
numbers of the epoch it came to.

## How it was made

{shown}

Settings: `recipes/training/shapes.yaml`. Machine: {here.cpu}; {versions}.
"""


if __name__ == "__main__":
    main()

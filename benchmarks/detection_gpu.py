"""One epoch of Mask R-CNN with ResNet-50, plain and with H-MHSA, at 800 pixels: ``python benchmarks/detection_gpu.py``.

Makes the shapes set at that size, trains by the training loop itself in the authors' settings, and writes images/s and
peak memory to ``reports/detection_gpu.md``. Without a GPU it says so and does nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

from hmhsa_insert.costs.environment import environment
from hmhsa_insert.detection.make_shapes import make_shapes
from hmhsa_insert.detection.plan_run import plan_detection
from hmhsa_insert.training.run import train_run
from hmhsa_insert.training.run_tables import TIMING

REPORT = Path(__file__).parents[1] / "reports" / "detection_gpu.md"
RECIPES = (None, "bottleneck", "stage3")
PRECISIONS = ("no", "bf16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=400, help="of the shapes set, a fifth to validate")
    parser.add_argument("--batch", type=int, default=8, help="images of an update")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here: run this where there is one, it writes reports/detection_gpu.md")
        sys.exit(0)
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "shapes"
        make_shapes(data, options.images, size=1067)  # 800 by 1067: the shorter side as it is
        for recipe in RECIPES:
            for precision in PRECISIONS:
                folder = Path(scratch) / f"{recipe}-{precision}"
                speed, memory, loss = one_epoch(data, recipe, precision, options.batch, folder)
                cells = (recipe or "plain", precision, f"{speed:.1f}", f"{memory:.0f}", f"{loss:.3f}")
                lines.append("| " + " | ".join(cells) + " |")
                print(lines[-1], flush=True)
    here = environment()
    versions = here.software()
    head = "| recipe | precision | images/s | peak MiB | training loss |\n|---|---|---|---|---|\n"
    REPORT.write_text(
        f"# Mask R-CNN with ResNet-50 at 800 pixels, batch {options.batch}\n\n"
        f"`python benchmarks/detection_gpu.py`: one epoch of the shapes set, nothing pretrained, images read and the "
        f"first updates included.\n{torch.cuda.get_device_name()}; {versions}\n\n{head}"
        + "\n".join(lines)
        + "\n",
        encoding="utf-8",
    )
    print(f"wrote {REPORT}")


def one_epoch(
    data: Path, recipe: str | None, precision: str, batch: int, folder: Path
) -> tuple[float, float, float]:
    """Return images/s, peak memory in MiB and the mean training loss of one epoch by the command's own code."""
    overrides = [
        *("epochs=1", f"batch_size={batch}", f"compute.precision={precision}"),
        *("schedule.name=constant", "schedule.milestones=[]"),
    ]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run = plan_detection("resnet50", data, task="segment", recipe=recipe, overrides=overrides)
    train_run(run, folder)
    timing = pd.read_csv(folder / TIMING).iloc[-1]
    metrics = pd.read_csv(folder / "metrics.csv").iloc[-1]
    return float(timing["images_per_s"]), float(timing["memory_mib"]), float(metrics["train_loss"])


if __name__ == "__main__":
    main()

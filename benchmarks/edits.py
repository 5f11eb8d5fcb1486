"""What an edit costs: ``python benchmarks/edits.py --against d9f1844`` writes ``reports/edits.md``.

Planning and verifying ResNet-50 is compared with an older commit, the two in turns. The forward of a network whose
blocks were removed again, and of one whose wrapped expression runs a child that does nothing, is compared with the
plain network's. Every figure comes from fresh processes, one after the other; the clock is their CPU time at one
thread, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from hmhsa_insert.costs.environment import environment

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "reports" / "edits.md"

TOOL = """
import json, time, timm, torch
import hmhsa_insert as hi
torch.set_num_threads(1)
small = timm.create_model("resnet18")
hi.verify(small, hi.apply(small, "stage3.yaml", input_size=(3, 64, 64)))  # imports and first calls
base = timm.create_model("resnet50")
start = time.process_time()
hi.plan(base, "stage3.yaml")
planned = time.process_time()
edited = hi.apply(base, "stage3.yaml")
applied = time.process_time()
assert all(check.passed for check in hi.verify(base, edited))
print(json.dumps({"plan": planned - start, "verify": time.process_time() - applied}))
"""

# The wrapped child is put in place of the block after the edit: what is left is the wrapping itself.
FORWARD = """
import json, sys, timm, torch
from torch import nn
import hmhsa_insert as hi
from hmhsa_insert.costs.latency import Timing, measure_latency
torch.set_num_threads(1)
name, at, size = sys.argv[1], json.loads(sys.argv[2]), (3, 224, 224)
block = {"type": "irb", "expansion": 1}
recipe = {"version": 1, "edits": [{"op": "insert", "id": "new", "at": at, "block": block}]}
base = timm.create_model(name).eval()
edited = hi.apply(base, recipe, input_size=size)
(site,) = hi.plan(base, recipe, input_size=size).sites
host = edited.get_submodule(site.qualname)
removed = hi.remove(edited)
host._modules["new"] = nn.Identity()
models = {"plain": base, "removed": removed, "child that does nothing": edited}
timing = Timing(rounds=31, shortest_ms=100.0, clock="process")
found = measure_latency(models, size, batch=1, timing=timing)
print(json.dumps({"action": site.action, **{key: each.time_ratio for key, each in found.items()}}))
"""
NETWORKS = {
    "resnet50": {"stage": 3},
    "densenet121": {"stage": 3},
    "rdnet_tiny": {"stage": 3},
}


def child(script: str, root: Path, *args: str) -> dict[str, float]:
    """Run a script in a fresh process on the package under `root`, and return what it prints."""
    env = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, *args]
    done = subprocess.run(command, check=True, cwd=root, env=env, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def spread(values: list[float]) -> str:
    """Return the median and the range of `values`."""
    return f"{median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def tool(commit: str, rounds: int) -> list[str]:
    """Return the lines about planning and verifying."""
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / "old"
        subprocess.run(["git", "worktree", "add", "--detach", str(old), commit], cwd=ROOT, check=True)
        try:
            ratios: dict[str, list[float]] = {"plan": [], "verify": []}
            seconds: dict[str, list[float]] = {"plan": [], "verify": []}
            for turn in range(rounds):
                order = [ROOT, old] if turn % 2 else [old, ROOT]
                found = {root: child(TOOL, root) for root in order}
                for key in ratios:
                    ratios[key].append(found[ROOT][key] / found[old][key])
                    seconds[key].append(found[ROOT][key])
                print(f"round {turn + 1} of {rounds}: {found[ROOT]} against {found[old]}", flush=True)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(old)], cwd=ROOT, check=True)
    lines = ["| ResNet-50, `stage3.yaml` | ratio: median (least to most) | CPU seconds |", "|---|---:|---:|"]
    return lines + [f"| {key} | {spread(ratios[key])} | {median(seconds[key]):.2f} |" for key in ratios]


def forwards(processes: int) -> list[str]:
    """Return the lines about the cost of an edited forward."""
    lines = ["| network | edit | block removed again | a child that does nothing |", "|---|---|---:|---:|"]
    for name, at in NETWORKS.items():
        found = [child(FORWARD, ROOT, name, json.dumps(at)) for _ in range(processes)]
        print(name, found, flush=True)
        cells = [spread([each[key] for each in found]) for key in ("removed", "child that does nothing")]
        lines.append(f"| {name} | {found[0]['action']} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", metavar="COMMIT", required=True, help="the older commit")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--processes", type=int, default=7)
    given = parser.parse_args()
    here = environment()
    versions = here.software()
    lines = [
        "# What an edit costs",
        "",
        f"`python benchmarks/edits.py --against {given.against}` on {here.cpu} ({here.cores} cores); {versions}.",
        "CPU time at one thread.",
        "",
        f"Planning and verifying, against commit {given.against}, {given.rounds} pairs of fresh processes",
        "(bars: plan at most 1.3, verify at most 1):",
        "",
        *tool(given.against, given.rounds),
        "",
        "The forward pass of one image against the plain network's: the median of 31 paired rounds in each of",
        f"{given.processes} fresh processes, then the median (least to most) of these (bar: 1.00 ± 0.02):",
        "",
        *forwards(given.processes),
    ]
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines), f"\nwrote {TARGET}")


if __name__ == "__main__":
    main()

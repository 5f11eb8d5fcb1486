"""Study folders as `hmhsa-insert ablate` leaves them, with figures small enough to work out by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SCORES = {"plain": [90.0, 91.0, 92.0], "hmhsa": [91.0, 92.5, 93.0], "placebo": [90.0, 90.5, 92.5]}
COSTS = {"plain": (1000, 10_000), "hmhsa": (1100, 12_000), "placebo": (1100, 11_000)}


def trial_id(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def bits(correct: Sequence[int]) -> str:
    return np.packbits(np.array(correct, dtype=bool)).tobytes().hex()


def done(id: str, top1: float, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "status": "done",
        "message": "",
        "top1": top1,
        "top5": 100.0,
        "loss": 0.25,
        "best_top1": top1,
        "epochs": 2,
        "updates": 40,
        "images": 1280,
        "num_params": 1000,
        "macs": 10_000,
        "macs_modules_only": 9_000,
        "memory_bytes": 2.0**20,
        "val_images": 4,
        "correct": bits([1, 1, 1, 0]),
        "seconds": 36.0,
        "processes": 1,
        "device": "cpu",
        "versions": {"torch": "2.15.0"},
    } | more


def failed(id: str, message: str) -> dict[str, Any]:
    unknown = dict.fromkeys(
        key for key in done(id, 0.0) if key not in ("id", "status", "message", "versions")
    )
    return {"id": id, "status": "failed", "message": message, **unknown, "versions": {}}


def listed(variant: str, seed: int, model: str = "net", **more: Any) -> dict[str, Any]:
    return {
        "id": trial_id(variant, seed, model),
        "variant": variant,
        "model": model,
        "recipe": None if variant == "plain" else variant,
        "settings": "default",
        "data": "digits",
        "seed": seed,
        "group": f"{model}, default, digits",
        "baseline": variant == "plain",
    } | more


def write_study(
    folder: Path, trials: list[dict[str, Any]], rows: list[Mapping[str, Any]], **more: Any
) -> Path:
    """Write the folder of a study: `trials` as its list has them, `rows` as they were committed."""
    (folder / "trials").mkdir(parents=True)
    content = {
        "kind": "study",
        "version": 1,
        "name": "which",
        "intent": "Which block pays?",
        "baseline": "plain",
        "variants": list(dict.fromkeys(trial["variant"] for trial in trials)),
        "trials": trials,
        "notes": [],
    } | more
    (folder / "study.json").write_text(json.dumps(content))
    for row in rows:
        path = folder / "trials" / str(row["id"])
        path.mkdir()
        (path / "trial.json").write_text(json.dumps(row))
    return folder


def small_study(folder: Path, **more: Any) -> Path:
    """Write a study of three variants and three seeds, all done."""
    trials = [listed(variant, seed) for seed in range(3) for variant in SCORES]
    rows = []
    for trial in trials:
        params, macs = COSTS[trial["variant"]]
        top1 = SCORES[trial["variant"]][trial["seed"]]
        correct = bits([1, 1, 1, 0] if trial["variant"] == "plain" else [0, 0, 0, 1])
        rows.append(done(trial["id"], top1, num_params=params, macs=macs, correct=correct))
    return write_study(folder, trials, rows, **more)

"""One whole and small file of every kind, in a folder, and what reads it: the command or the function a user calls."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from accelerate import Accelerator
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

from hmhsa_insert.commands import app
from hmhsa_insert.detection.annotations import read_annotations
from hmhsa_insert.detection.artifact import load as load_detector
from hmhsa_insert.detection.artifact import read_detector
from hmhsa_insert.detection.artifact import save as save_detector
from hmhsa_insert.detection.coco_data import open_objects
from hmhsa_insert.detection.detector import detector
from hmhsa_insert.files.shapes import checked
from hmhsa_insert.models import read_state_dict
from hmhsa_insert.reports.sources import load_records
from hmhsa_insert.segmentation.artifact import load as load_segmenter
from hmhsa_insert.segmentation.artifact import read_segmenter
from hmhsa_insert.segmentation.artifact import save as save_segmenter
from hmhsa_insert.segmentation.segmenter import segmenter
from hmhsa_insert.studies.outcomes import read_outcomes
from hmhsa_insert.studies.prune import removed_before
from hmhsa_insert.studies.store import read_study, read_trial
from hmhsa_insert.studies.study_file import load_study
from hmhsa_insert.surgery.artifact.artifact import ARTIFACT, read_record, weights_summary
from hmhsa_insert.surgery.artifact.artifact import load as load_artifact
from hmhsa_insert.surgery.artifact.folder import check_writable
from hmhsa_insert.surgery.base.load import load_model
from hmhsa_insert.training import open_data, read_config, read_predictions, read_result
from hmhsa_insert.training.loop.checkpoint import load_checkpoint
from hmhsa_insert.training.loop.progress import Progress, SavedPlace
from hmhsa_insert.training.problems import RunError
from hmhsa_insert.training.run_tables import read_timing
from hmhsa_insert.training.settings import load_settings
from hmhsa_insert.zoo.networks import entries_of

# Made once: a command of the tool would make it each time.
_APP = typer.main.get_command(app)
NETWORK = "timm/test_resnet"
CHECKPOINT = Path("checkpoints/update-000000008")
TRIAL = "0123456789abcdef"
RECIPE = """# What a block changes.
version: 1
name: mine
edits:
  - op: insert
    id: attn
    at: {stage: 3}
    block: {type: hmhsa, head_dim: 16, grids: auto, qkv_bias: true}
"""
STUDY = """version: 1
models: timm/test_resnet
data: digits
seeds: [0, 1]
settings: {s: {base: digits, epochs: 1, input_size: 32}}
baseline: plain
variants:
  plain:
  x:
    edits:
      - {op: insert, id: a, at: {stage: 3}, block: {type: hmhsa, head_dim: 8}}
    axes:
      a.block.head_dim: [8, 16]
"""
SETTINGS = """epochs: 3
batch_size: 120
input_size: 32
optimizer: {name: adamw, lr: 5.0e-3, clip_norm: 5.0}
schedule: {warmup_epochs: 0.5}
augment: {scale: [0.7, 1.0], erasing: 0.2, mixup: 0.8, cutmix: 1.0, crop_pct: 1.0}
loss: {label_smoothing: 0.1}
ema: {decay: 0.99, warmup: true}
compute: {device: cpu}
"""
NETWORKS = "timm/test_resnet 64x64\ntimm/resnet18  # a comment\ntimm/test_vit 1x28x28\n"
INFO = {
    "splits": {
        "train": {"filenames": ["train-0.tar"], "num_samples": 10},
        "validation": {"filenames": ["val-0.tar"], "num_samples": 5},
    },
    "num_classes": 3,
}
# Files of labels of each split, by what follows its name.
LABELS = {
    "yolo": {
        "data.yaml": "path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames:\n  0: cat\n  1: dog\n",
        "labels/{split}/{stem}.txt": "0 0.5 0.5 0.5 0.5\n1 0.1 0.1 0.9 0.1 0.9 0.9 0.5 0.4 0.1 0.9\n",
    },
    "voc": {
        "ImageSets/Main/{split}.txt": "{stem}\n",
        "classes.txt": "cat\ndog\n",
        "Annotations/{stem}.xml": """<?xml version="1.0"?>
<annotation>
  <filename>{stem}.png</filename>
  <size><width>40</width><height>20</height><depth>3</depth></size>
  <object>
    <name>cat</name><pose>Left</pose><truncated>0</truncated><difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>
  </object>
</annotation>
""",
    },
    "boxes": {
        "{split}.csv": "image,xmin,ymin,xmax,ymax,label,width,height\n{stem}.png,1,2,30,15.5,cat,40,20\n"
        "{stem}.png,,,,,,40,20\n",
    },
}


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: of the kind, for the table.
        path: of its specimen.
        form: how what it says is written: yaml, json, text, safetensors, pickle.
        read: what is done with it, in the folder of specimens.
        share: how many of the cases are of this kind, against the others: more where one takes little time.
        deep: what is done with one case of many, because it builds a network or opens data; None if there is no more.
        deep_every: of how many cases that is one.
    """

    name: str
    path: str
    form: str
    read: Callable[[], object]
    share: int
    deep: Callable[[], object] | None = None
    deep_every: int = 40


def command(line: str) -> str:
    """Return what a command prints; what it raises is raised, an exit that is not 0 as SystemExit."""
    result: Result = CliRunner().invoke(_APP, shlex.split(line))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code not in (0, 1):
        raise AssertionError(f"exit code {result.exit_code}: {result.output[-300:]}")
    if result.exit_code:
        raise SystemExit(result.output)
    return result.output


def _run_record() -> object:
    return load_records(["run"])


def _run_uses() -> object:
    return _run_record(), _from_run()


def _artifact_uses() -> object:
    return command("show artifact"), load_artifact("artifact")


def _detector_uses() -> object:
    return command("show detector"), load_detector("detector")


def _profile_uses() -> object:
    return [command(f"report profile.json --parts --format {how}") for how in ("md", "csv", "html")]


def _trials() -> object:
    for path in sorted(Path("study/trials").iterdir()):
        read_trial(Path("study"), path.name)
    return read_outcomes(Path("study"))


def _study_record() -> object:
    return read_study(Path("study")), read_outcomes(Path("study"))


def _from_run() -> object:
    from hmhsa_insert.training.score import candidate

    return candidate("run")


@cache
def _small_training() -> tuple[Accelerator, Progress]:
    """Return what a checkpoint is loaded into: a network of one layer and its optimizer."""
    accelerator = Accelerator(cpu=True)
    network = torch.nn.Linear(4, 3)
    accelerator.prepare(network, torch.optim.AdamW(network.parameters()))
    return accelerator, Progress(accelerator)


def _restored() -> object:
    """Go on from the checkpoint, as a training does."""
    accelerator, progress = _small_training()
    extra = load_checkpoint(accelerator, CHECKPOINT)
    checked(SavedPlace, extra, CHECKPOINT / "run.pt", RunError)
    progress.load_state_dict(extra["progress"])
    return progress


KINDS: tuple[Kind, ...] = (
    Kind("recipe", "recipe.yaml", "yaml", lambda: command("recipe check recipe.yaml"), 8,
         lambda: command(f"plan {NETWORK} --recipe recipe.yaml --input-size 64"), 300),
    Kind("study file", "study.yaml", "yaml", lambda: load_study("study.yaml"), 6,
         lambda: command("ablate study.yaml --dry-run -o planned"), 400),
    Kind("settings", "settings.yaml", "yaml", lambda: load_settings("settings.yaml", ()), 6),
    Kind("run: config.yaml", "run/config.yaml", "yaml", lambda: read_config("run"), 4, _run_uses, 20),
    Kind("run: result.json", "run/result.json", "json", lambda: read_result("run"), 4, _run_record, 10),
    Kind("run: timing.csv", "run/timing.csv", "text", lambda: read_timing("run"), 3),
    Kind("run: predictions.csv", "run/predictions.csv", "text", lambda: read_predictions("run"), 3),
    Kind("run: weights", "run/best.safetensors", "safetensors", _from_run, 1),
    Kind("artifact: plan.json", "artifact/plan.json", "json", lambda: read_record("artifact"), 5,
         _artifact_uses, 10),
    Kind("artifact: base.json", "artifact/base.json", "json", lambda: read_record("artifact"), 5,
         _artifact_uses, 10),
    Kind("artifact: weights", "artifact/model.safetensors", "safetensors",
         lambda: weights_summary("artifact"), 2, _artifact_uses, 10),
    Kind("artifact: manifest.json", "artifact/manifest.json", "json",
         lambda: check_writable(Path("artifact"), ARTIFACT, overwrite=True), 3),
    Kind("detector.json", "detector/detector.json", "json", lambda: read_detector("detector"), 4,
         _detector_uses, 40),
    Kind("segmenter.json", "segmenter/segmenter.json", "json", lambda: read_segmenter("segmenter"), 4,
         lambda: (command("show segmenter"), load_segmenter("segmenter")), 40),
    Kind("profile", "profile.json", "json", lambda: load_records(["profile.json"]), 4,
         _profile_uses, 25),
    Kind("training record", "training.json", "json", lambda: load_records(["training.json"]), 4,
         lambda: command("report training.json --format csv"), 20),
    Kind("study.json", "study/study.json", "json", _study_record, 5,
         lambda: command("report study --format md")),
    Kind("trial.json", f"study/trials/{TRIAL}/trial.json", "json", _trials, 5,
         lambda: command("report study --format json")),
    Kind("pruned blocks", f"study/pruned/{TRIAL}.json", "json",
         lambda: removed_before(Path(f"study/pruned/{TRIAL}.json")), 3),
    Kind("COCO annotations", "coco/annotations/instances_train.json", "json",
         lambda: read_annotations(Path("coco/annotations/instances_train.json"), True), 6),
    Kind("YOLO: data.yaml", "yolo/data.yaml", "yaml", lambda: open_objects("yolo"), 5),
    Kind("YOLO: rows", "yolo/labels/train/a.txt", "text", lambda: open_objects("yolo"), 5),
    Kind("Pascal VOC XML", "voc/Annotations/a.xml", "text", lambda: open_objects("voc"), 5),
    Kind("Pascal VOC list", "voc/ImageSets/Main/train.txt", "text", lambda: open_objects("voc"), 3),
    Kind("CSV of boxes", "boxes/train.csv", "text", lambda: open_objects("boxes"), 5),
    Kind("array of an image", "arrays/train/a/0.npy", "text", lambda: open_data("arrays"), 2),
    Kind("stream: _info.json", "stream/_info.json", "json", lambda: open_data("wds/stream"), 5),
    Kind("networks of the zoo", "networks.txt", "text", lambda: entries_of(Path("networks.txt")), 4),
    Kind("weights: safetensors", "weights.safetensors", "safetensors",
         lambda: read_state_dict("weights.safetensors"), 6),
    Kind("weights: pickle", "weights.pth", "pickle", lambda: read_state_dict("weights.pth"), 6),
    Kind("checkpoint: run.pt", f"{CHECKPOINT}/run.pt", "pickle", _restored, 4),
    Kind("checkpoint: optimizer.bin", f"{CHECKPOINT}/optimizer.bin", "pickle", _restored, 4),
)  # fmt: skip


def make_specimens() -> None:
    """Write every specimen into the current folder."""
    texts = {"recipe.yaml": RECIPE, "study.yaml": STUDY, "settings.yaml": SETTINGS, "networks.txt": NETWORKS}
    for name, text in texts.items():
        Path(name).write_text(text)
    state = {"conv.weight": torch.zeros(4, 3, 3, 3), "fc.weight": torch.ones(2, 4), "fc.bias": torch.zeros(2)}
    save_file(state, "weights.safetensors")
    torch.save({"model": state, "epoch": 3, "args": {"lr": 0.1}}, "weights.pth")
    command(f"apply {NETWORK} -r recipe.yaml --input-size 64 -o artifact")
    run = "--epochs 1 --config settings.yaml --set batch_size=4 --set loader.workers=0"
    _make_pictures()
    _make_arrays()
    command(f"train {NETWORK} --recipe recipe.yaml --data pictures {run} -o run")
    _make_profile()
    _make_records()
    _make_labels()
    _make_detector()
    save_segmenter(segmenter("semantic_fpn", "test_resnet", 3, channels=16, input_size=64), "segmenter")
    _make_checkpoint()


def _make_pictures() -> None:
    for number in range(16):
        path = Path("pictures", "train" if number < 8 else "val", "ab"[number % 2], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (15 * number, 60, 90)).save(path)


def _make_arrays() -> None:
    for number in range(8):
        path = Path("arrays", "train" if number < 4 else "val", "ab"[number % 2], f"{number}.npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.full((8, 6, 4), number, np.uint16))


def _make_profile() -> None:
    command(f"profile {NETWORK} --recipe recipe.yaml --memory --input-size 64 -o profile.json")
    records = json.loads(Path("profile.json").read_text())["records"]
    for record in records:  # of a hundred modules a few are enough
        record["by_module"] = record["by_module"][:3]
        record["memory"]["by_module"] = dict(list(record["memory"]["by_module"].items())[:3])
        record["parts"] = dict(list(record["parts"].items())[:2])
    _write("profile.json", {"records": records})


def _make_records() -> None:
    record = {
        "kind": "training",
        "name": "mine",
        "group": "mine",
        "input_size": [3, 64, 64],
        "top1": 71.5,
        "data": "x",
    }
    _write("training.json", {**record, "num_params": 1000, "macs": 10**9, "box": {"AP": 0.3}})
    _write("stream/_info.json", INFO)
    for name in ("train-0.tar", "val-0.tar"):
        Path("stream", name).touch()
    listed = {
        "id": TRIAL,
        "variant": "plain",
        "model": "net",
        "recipe": None,
        "settings": "s",
        "data": "digits",
    }
    study = {
        "kind": "study",
        "version": 1,
        "name": "which",
        "intent": "Which?",
        "baseline": "plain",
        "notes": ["n"],
    }
    trials = [{**listed, "seed": 0, "group": "net, s, digits", "baseline": True}]
    study["controls"] = {"se placebo": {"of": "se", "control": "placebo"}}
    study["refused"] = [{"variant": "se", "group": "net, s, digits", "reason": "no"}]
    study["asked"] = {"version": 1, "models": {"net": {"model": "mine:net"}}}
    _write("study/study.json", {**study, "variants": ["plain"], "trials": trials})
    counts = {"epochs": 2, "updates": 40, "images": 80, "num_params": 9, "macs": 9, "val_images": 4}
    scores = {"top1": 50.0, "top5": 100.0, "loss": 0.25, "best_top1": 50.0, "seconds": 36.0, "correct": "a0"}
    told = {
        "id": TRIAL,
        "status": "done",
        "message": "",
        "processes": 1,
        "device": "cpu",
        "memory_bytes": 2.0,
    }
    _write(f"study/trials/{TRIAL}/trial.json", {**told, **counts, **scores})
    removed = [{"block": "layer1.it", "val_loss": 0.5}]
    _write(f"study/pruned/{TRIAL}.json", {"whole": TRIAL, "removed": removed})
    boxed = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [5, 5, 20, 10], "area": 200, "iscrowd": 0}
    rle = {"size": [40, 40], "counts": [100, 20, 1480]}
    annotations = [
        {**boxed, "segmentation": [[5, 5, 25, 5, 25, 15, 5, 15]]},
        {**boxed, "id": 2, "iscrowd": 1, "segmentation": rle},
    ]
    images = [{"id": 1, "file_name": "1.png", "height": 40, "width": 40}]
    categories = [{"id": 3, "name": "cat"}, {"id": 17, "name": "dog"}]
    whole = {"images": images, "annotations": annotations, "categories": categories}
    _write("coco/annotations/instances_train.json", whole)


def _make_labels() -> None:
    """Write one picture a split with the same boxes in each format."""
    for name, pictures in {"yolo": "images/{}", "voc": "JPEGImages", "boxes": "images/{}"}.items():
        for split, stem in (("train", "a"), ("val", "b")):
            path = Path(name, pictures.format(split), f"{stem}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 20)).save(path)
            for label, text in LABELS[name].items():
                label = label.format(split=split, stem=stem)
                Path(name, label).parent.mkdir(parents=True, exist_ok=True)
                Path(name, label).write_text(text.format(split=split, stem=stem))


def _make_detector() -> None:
    backbone = load_model(NETWORK).model
    made = detector("retinanet", backbone, 3, categories={3: "cat", 17: "dog"}, input_size=(3, 64, 64))
    save_detector(made, "detector")


def _make_checkpoint() -> None:
    accelerator, progress = _small_training()
    progress.history = [{"epoch": 1, "train_loss": 0.5, "memory_mib": None}]
    progress.damaged = {"a.png"}
    CHECKPOINT.mkdir(parents=True)
    accelerator.save_state(str(CHECKPOINT), safe_serialization=False)
    torch.save({"progress": progress.state_dict(), "average": {}}, CHECKPOINT / "run.pt")


def _write(name: str, value: Any) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(json.dumps(value))

"""ultralytics' own training of an edited YOLO: two epochs, a stop, the rest; then val, predict, export, a new file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import hmhsa_insert as hi
from hmhsa_insert.commands import app
from hmhsa_insert.detection.make_shapes import make_shapes

ultralytics = pytest.importorskip("ultralytics")
pytestmark = pytest.mark.libs
RECIPE = {
    "version": 1,
    "name": "neckless",
    "edits": [
        {
            "id": "attn",
            "op": "insert",
            "at": {"stage": 3, "block": "last"},
            "block": {"type": "mhsa", "head_dim": 32},
        }
    ],
}
QUICK = {"imgsz": 64, "batch": 8, "workers": 0, "device": "cpu", "plots": False, "seed": 3, "verbose": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data file of the shapes set in ultralytics' format."""
    root = make_shapes(tmp_path_factory.mktemp("data") / "shapes", images=40, size=64).folder
    names: dict[int, str] = {}
    for split in ("train", "val"):
        written = json.loads(next((root / "annotations").glob(f"*{split}*.json")).read_text())
        names = {each["id"] - 1: each["name"] for each in written["categories"]}
        labels = root / "labels" / split
        labels.mkdir(parents=True)
        for image in written["images"]:
            lines = []
            for box in (each for each in written["annotations"] if each["image_id"] == image["id"]):
                x, y, w, h = box["bbox"]
                centre = ((x + w / 2) / image["width"], (y + h / 2) / image["height"])
                sides = (w / image["width"], h / image["height"])
                lines.append(" ".join(map(str, (box["category_id"] - 1, *centre, *sides))))
            (labels / image["file_name"]).with_suffix(".txt").write_text("\n".join(lines))
    path = root / "shapes.yaml"
    path.write_text(
        json.dumps({"path": str(root), "train": "images/train", "val": "images/val", "names": names})
    )
    return path


def train(model: Any, data: Path, **options: Any) -> Any:
    """Train with the recipe; return the trainer."""
    model.train(trainer=hi.integrations.ultralytics.trainer(RECIPE), data=str(data), **QUICK, **options)
    return model.trainer


def test_the_base_is_as_it_was_before_the_first_step(data: Path, tmp_path: Path) -> None:
    base = ultralytics.YOLO("yolo11n.yaml")
    base.save(tmp_path / "base.pt")
    loaded = ultralytics.YOLO(tmp_path / "base.pt")
    before = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    seen: dict[str, Any] = {}

    def look(trainer: Any) -> None:
        seen.update({key: value.clone() for key, value in trainer.model.state_dict().items()})

    loaded.add_callback("on_pretrain_routine_end", look)
    train(loaded, data, epochs=1, project=str(tmp_path), name="run")
    same = [key for key, value in before.items() if key in seen and seen[key].shape == value.shape]
    # The heads of 80 classes make way for those of the data.
    assert len(before) - len(same) < 20
    assert all(torch.equal(seen[key], before[key]) for key in same)
    assert any(".attn." in key for key in seen)


def test_trained_stopped_resumed_validated_exported(data: Path, tmp_path: Path) -> None:
    model = ultralytics.YOLO("yolo11n.yaml")

    def stop(trainer: Any) -> None:
        if trainer.epoch == 0:
            raise KeyboardInterrupt

    model.add_callback("on_model_save", stop)
    with pytest.raises(KeyboardInterrupt):
        train(model, data, epochs=2, project=str(tmp_path), name="run")
    last = tmp_path / "run" / "weights" / "last.pt"
    again = ultralytics.YOLO(last)
    trainer = train(again, data, resume=True)
    assert trainer.epoch == 1
    best = ultralytics.YOLO(tmp_path / "run" / "weights" / "best.pt")
    blocks = {key for key in best.model.state_dict() if ".attn." in key}
    assert blocks
    start = hi.apply(ultralytics.YOLO("yolo11n.yaml").model, RECIPE, input_size=(3, 64, 64)).state_dict()
    assert any(not torch.equal(best.model.state_dict()[key].float(), start[key]) for key in blocks)
    found = best.val(data=str(data), imgsz=64, device="cpu", plots=False, workers=0, verbose=False)
    assert np.isfinite(found.box.map)
    assert len(best.predict(np.zeros((64, 64, 3), np.uint8), imgsz=64, verbose=False)) == 1


@pytest.mark.parametrize(
    ("old", "new"), [("attn", "other"), ("32", "16")], ids=["another id", "another head size"]
)
def test_a_checkpoint_of_another_recipe_is_refused(data: Path, tmp_path: Path, old: str, new: str) -> None:
    """Heads of another size have the same keys and shapes."""
    other = json.loads(json.dumps(RECIPE).replace(old, new))
    edited = ultralytics.YOLO("yolo11n.yaml")
    edited.model = hi.apply(edited.model, other, input_size=(3, 64, 64))
    edited.ckpt = {"model": edited.model}
    with pytest.raises(hi.ModelError, match="the checkpoint holds another edit"):
        train(edited, data, epochs=1, project=str(tmp_path), name="run")


def test_the_command_does_the_same(data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "own.yaml"
    recipe.write_text(json.dumps(RECIPE))
    options = [f"{key}={value}" for key, value in QUICK.items()]
    arguments = ["ultralytics", "yolo11n.yaml", "--recipe", str(recipe), f"data={data}", "epochs=1", *options]
    result = CliRunner().invoke(app, [*arguments, f"project={tmp_path}", "name=run"])
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "run") in result.output.replace("\n", "")
    weights = tmp_path / "run" / "weights" / "best.pt"
    assert any(".attn." in key for key in ultralytics.YOLO(weights).model.state_dict())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["yolo11.yml", "epochs=1"], "ultralytics has no network 'yolo11.yml'"),
        (["yolo11n.yaml", "epochs"], "epochs: this is not KEY=VALUE write epochs=100"),
        (["yolo11n.yaml", "epoch=1"], "ultralytics stopped: "),
        (["yolo11n.yaml", "data=nowhere.yaml"], "ultralytics stopped: "),
        (["own.pt", "epochs=1"], "this file is a pickle"),
        (["none.pt", "epochs=1"], "there is no such file"),
        (["none.pt", "epochs=1", "--unsafe-pickle"], "there is no such file"),
    ],
)
def test_what_the_command_refuses(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.pt").write_bytes(b"a pickle")
    result = CliRunner().invoke(app, ["ultralytics", *arguments, "--recipe", "stage3.yaml"])
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert "Traceback" not in result.output

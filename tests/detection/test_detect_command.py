"""``detect`` and ``show`` on the folder of a detector."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from pycocotools import mask as mask_tools
from scenes import RECIPE, small_detector
from typer.testing import CliRunner

import hmhsa_insert as hi
from hmhsa_insert.commands import app
from hmhsa_insert.detection.predict import detect as detect_one
from hmhsa_insert.detection.predict import draw, picture_names, read_image
from hmhsa_insert.drawing.overlay import overlay


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    edited = hi.apply(hi.load_model("resnet18").model, RECIPE)
    options = {"categories": {7: "kite", 3: "[dog]"}, "box_detections_per_img": 3}
    detector = small_detector("maskrcnn", edited, None, **options)
    return hi.save(detector, tmp_path_factory.mktemp("made") / "detector")


def picture(path: Path, size: tuple[int, int] = (80, 64), mode: str = "RGB") -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def test_pictures_and_results(made: Path, tmp_path: Path) -> None:
    first = picture(tmp_path / "a" / "x.jpg")
    second = picture(tmp_path / "b" / "x.png", (60, 72), "L")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(first.read_bytes()[:900])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    out = tmp_path / "out"
    result = run("detect", made, first, broken, tmp_path / "none.jpg", second, "-o", out, "--score", 0)
    assert result.exit_code == 1  # two files could not be read, and the others were done all the same
    assert "broken.jpg: cannot be read" in result.stderr
    assert "none.jpg: cannot be read" in result.stderr
    assert "wrote" in result.stdout
    assert sorted(path.name for path in out.iterdir()) == [
        "detections.json",
        "manifest.json",
        "x-2.png",
        "x.png",
    ]
    assert {path: path.read_bytes() for path in before} == before
    found = json.loads((out / "detections.json").read_text())
    assert [entry["image_id"] for entry in found] == [1] * 3 + [4] * 3
    assert {entry["category_id"] for entry in found} <= {3, 7}
    assert found[-1]["file_name"] == str(second)
    assert mask_tools.decode(found[-1]["segmentation"]).shape == (72, 60)
    detector = hi.load(made).eval()
    with torch.no_grad():
        pixels = torch.from_numpy(np.array(Image.open(second).convert("RGB"))).permute(2, 0, 1)
        (want,) = detector([pixels.float() / 255])
    assert [entry["score"] for entry in found[3:]] == want["scores"].tolist()
    left, top, right, bottom = want["boxes"][0].tolist()
    assert found[3]["bbox"] == [left, top, right - left, bottom - top]
    drawn = np.array(Image.open(out / "x-2.png"))
    assert drawn.shape == (72, 60, 3)
    assert not np.array_equal(drawn, pixels.permute(1, 2, 0).numpy())


def test_what_scores_less_is_left_out_and_a_picture_without_objects_stays(made: Path, tmp_path: Path) -> None:
    image = picture(tmp_path / "x.png")
    result = run("detect", made, image, "-o", tmp_path / "out", "--score", 1)
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "out" / "detections.json").read_text()) == []
    same = np.array(Image.open(tmp_path / "out" / "x.png")) == np.array(Image.open(image))
    assert same.all()


def test_a_photograph_that_was_turned_is_upright(made: Path, tmp_path: Path) -> None:
    upright = Image.open(picture(tmp_path / "x.png", (80, 40)))
    exif = Image.Exif()
    exif[274] = 6  # stored lying on its side
    upright.save(tmp_path / "turned.png", exif=exif)
    result = run("detect", made, tmp_path / "turned.png", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert Image.open(tmp_path / "out" / "turned.png").size == (40, 80)


def test_a_run_is_its_best_weights(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("settings: {}\n")
    image = picture(tmp_path / "x.png")
    result = run("detect", folder, image, "-o", tmp_path / "out")
    assert "this run has no detector" in result.stderr
    (folder / "artifact").symlink_to(made)
    assert run("detect", folder, image, "-o", tmp_path / "out").exit_code == 0


def test_where_nothing_can_be_done(made: Path, tmp_path: Path) -> None:
    image = picture(tmp_path / "x.png")
    for folder, out, more, said in (
        (tmp_path / "no", "out", (), "there is no such folder"),
        (tmp_path, "out", (), "this is not a folder of a detector"),
        (made, "x.png", (), "this is a file"),
        (made, ".", (), "there are files in this folder"),
        (made, "out", ("--device", "cuda:99"), "'cuda:99' cannot be used"),
    ):
        result = run("detect", folder, image, "-o", tmp_path / out, *more)
        assert result.exit_code == 1
        assert said in result.stderr
        assert "Traceback" not in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png"]


def test_an_earlier_result_is_replaced_with_overwrite_alone(made: Path, tmp_path: Path) -> None:
    first, second = picture(tmp_path / "a" / "x.jpg"), picture(tmp_path / "a" / "y.jpg")
    out = tmp_path / "out"
    assert run("detect", made, first, "-o", out).exit_code == 0
    refused = run("detect", made, second, "-o", out)
    assert "replace what an earlier run wrote: --overwrite" in refused.stderr
    assert run("detect", made, second, "-o", out, "--overwrite").exit_code == 0
    assert sorted(path.name for path in out.glob("*.png")) == ["y.png"]
    (out / "y.png").write_bytes(b"my drawing")
    refused = run("detect", made, first, "-o", out, "--overwrite")
    assert "did not write, or not like this: y.png" in refused.stderr
    assert (out / "y.png").read_bytes() == b"my drawing"


def test_base_and_plugin_are_for_detectors_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    Path("own_backbone.py").write_text(
        "import timm\n\ndef net():\n    return timm.create_model('resnet18')\n"
    )
    Path("own_plugin.py").write_text("imported = True\n")
    edited = hi.apply(hi.load_model("own_backbone:net").model, RECIPE)
    hi.save(small_detector("retinanet", edited, 3), "own")
    image = picture(tmp_path / "x.png")
    refused = run("detect", "own", image, "-o", "out")
    assert "it names code to import and run, 'own_backbone:net'" in refused.stderr
    assert "--base MODULE:FACTORY" in refused.stderr
    done = run("detect", "own", image, "-o", "out", "--base", "own_backbone:net", "--plugin", "own_plugin")
    assert done.exit_code == 0, done.stderr
    assert sys.modules.pop("own_plugin").imported
    assert (
        "'nowhere' cannot be imported" in run("detect", "own", image, "-o", "o", "--plugin", "nowhere").stderr
    )


def test_masks_are_drawn_in_the_color_of_their_class() -> None:
    masks = torch.zeros(1, 1, 40, 40)
    masks[0, 0, 10:30, 10:30] = 1
    detector = small_detector("maskrcnn", "resnet18", 3)
    found = detect_one(detector.eval(), torch.zeros(3, 40, 40, dtype=torch.uint8), score=2.0)
    assert found.results == []
    found.found.update(
        boxes=torch.tensor([[8.0, 8.0, 32.0, 32.0]]),
        labels=torch.tensor([1]),
        scores=torch.tensor([0.9]),
        masks=masks,
    )
    drawn = np.array(draw(found, ["one"])).astype(int)
    assert drawn[28, 28].max() > 100
    assert (drawn[36:, 36:] == 0).all()
    ratio = drawn[28, 28] / max(drawn[28, 28])
    assert np.allclose(ratio, drawn[32, 20] / max(drawn[32, 20]), atol=0.05)


def test_attend_looks_into_the_backbone(made: Path, tmp_path: Path) -> None:
    image = picture(tmp_path / "x.png")
    result = run("attend", made, image, "-o", tmp_path / "looks", "--at", "40,30")
    assert result.exit_code == 0, result.output
    detector = hi.load(made).eval()
    seen = detector.transform([read_image(image).float() / 255])[0].tensors[0]
    (found,) = hi.attention(detector.backbone, seen, query=(30, 40)).values()
    mean, std = (
        torch.tensor(each)[:, None, None]
        for each in (detector.transform.image_mean, detector.transform.image_std)
    )
    for number, step in enumerate(found.steps):
        expected = np.array(overlay(seen * std + mean, step.weights[0].mean(0), (30, 40)))
        assert np.array_equal(
            np.array(Image.open(tmp_path / f"looks/1-{found.name}-step{number}.png")), expected
        )


def test_names_of_pictures_are_of_their_own() -> None:
    paths = map(Path, ("a/x.jpg", "b/x.png", "x-2.jpg", "../x.tif"))
    assert list(picture_names(paths)) == ["x.png", "x-2.png", "x-2-2.png", "x-3.png"]


def test_show_says_what_it_is(made: Path) -> None:
    result = run("show", made)
    assert result.exit_code == 0
    assert "Mask R-CNN, images at 64 to 96 pixels" in result.stdout
    assert "kite, [dog]" in result.stdout
    assert "timm/resnet18" in result.stdout
    assert "layer3.1.hmhsa" in result.stdout

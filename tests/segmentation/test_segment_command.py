"""``segment`` on the folder of a segmenter, and ``profile`` of whole segmenters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

import hmhsa_insert as hi
from hmhsa_insert.commands import app
from hmhsa_insert.segmentation.predict import as_mask, colors, label_map, over

CLASSES = ["background", "[cat]", "dog"]


def run(*words: object) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = hi.segmenter("semantic_fpn", "test_resnet", classes=CLASSES, channels=16, input_size=64)
    with torch.no_grad():
        model.get_submodule("decoder.scores").weight.normal_()
    return hi.save(model.eval(), tmp_path_factory.mktemp("made") / "segmenter")


def picture(path: Path, size: tuple[int, int], mode: str = "RGB") -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def test_masks_overlays_and_what_they_hold(made: Path, tmp_path: Path) -> None:
    first, second = picture(tmp_path / "x.png", (97, 31)), picture(tmp_path / "y.jpg", (40, 50), "L")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(first.read_bytes()[:200])
    out = tmp_path / "out"
    result = run("segment", made, first, broken, second, "-o", out, "--json")
    assert result.exit_code == 1  # one file could not be read, and the others were done all the same
    assert "broken.jpg: cannot be read" in result.stderr
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    expected = {
        "classes.json",
        "manifest.json",
        *(f"{at}{name}.png" for at in ("", "overlays/") for name in "xy"),
    }
    assert names == expected
    written = json.loads((out / "classes.json").read_text())
    assert json.loads(result.stdout.partition("\nwrote")[0]) == written
    assert [each["name"] for each in written["classes"]] == CLASSES
    with Image.open(out / "x.png") as mask, Image.open(first) as image:
        assert (mask.mode, mask.size) == ("P", (97, 31))
        labels = np.asarray(mask)
        assert mask.getpalette()[:9] == [value for color in colors(CLASSES) for value in color]
        assert labels.tolist() == label_map(hi.load(made), image).tolist()
        with Image.open(out / "overlays" / "x.png") as overlay:
            painted, pixels = np.asarray(overlay), np.asarray(image)
    assert len(np.unique(labels)) > 1
    assert (painted[labels == 0] == pixels[labels == 0]).all()
    assert (painted[labels == 1] != pixels[labels == 1]).any()
    counts = [written["images"][0]["pixels"][name] for name in CLASSES]
    assert counts == np.bincount(labels.ravel(), minlength=3).tolist()


def test_windows_cover_a_large_image_and_the_record_says_them(made: Path, tmp_path: Path) -> None:
    image = picture(tmp_path / "large.png", (150, 90))
    result = run("segment", made, image, "-o", tmp_path / "out", "--window", 64)
    assert result.exit_code == 0, result.output
    model = hi.load(made)
    with Image.open(tmp_path / "out" / "large.png") as mask, Image.open(image) as opened:
        assert np.asarray(mask).tolist() == label_map(model, opened, 64).tolist()
        whole = label_map(model, opened)
    windowed = hi.segmenter("semantic_fpn", "test_resnet", classes=CLASSES, channels=16, window=64).eval()
    windowed.load_state_dict(model.state_dict())
    with Image.open(image) as opened:
        assert label_map(windowed, opened).tolist() == label_map(model, opened, 64).tolist()
    assert whole.shape == (90, 150)


def test_many_classes_are_numbers_of_sixteen_bits(tmp_path: Path) -> None:
    labels = np.array([[0, 299], [256, 1]], dtype=np.int32)
    as_mask(labels, [str(number) for number in range(300)]).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as mask:
        assert np.asarray(mask).tolist() == labels.tolist()
    assert over(Image.new("RGB", (2, 2)), labels, [str(n) for n in range(300)]).size == (2, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("segment", "none", "x.png", "-o", "out"), "there is no such folder"),
        (("segment", ".", "x.png", "-o", "out"), "this is not a folder of a segmenter"),
        (("detect", "MADE", "x.png", "-o", "out"), "this is not a folder of a detector"),
    ],
)
def test_another_folder_is_refused(
    made: Path, words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*(made if word == "MADE" else word for word in words))
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_folder_is_shown_and_exported(made: Path, tmp_path: Path) -> None:
    shown = run("show", made).output
    assert "segmenter     Semantic FPN" in shown
    assert "finds         background, [cat], dog" in shown
    out = tmp_path / "model.ts"
    result = run("export", made, "--to", "torchscript", "-o", out, "--input-size", "64")
    assert result.exit_code == 0, result.output
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(torch.jit.load(out)(image), hi.load(made)(image))


def test_whole_segmenters_are_counted(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    line = f"profile test_resnet --decoder semantic_fpn -r stage3 --input-size 64x96 -o {out}"
    result = run(*line.split())
    assert result.exit_code == 0, result.output
    plain, edited = json.loads(out.read_text())["records"]
    assert (plain["name"], edited["name"]) == (
        "semantic_fpn test_resnet",
        "semantic_fpn test_resnet + stage3",
    )
    model = hi.segmenter("semantic_fpn", "test_resnet", 150)
    assert plain["num_params"] == sum(p.numel() for p in model.parameters())
    assert plain["macs"] == hi.profile(model, (3, 64, 96)).macs
    assert edited["macs"] > plain["macs"]
    assert plain["parts"]["Semantic FPN"] == ["decoder"]
    assert plain["parts"]["backbone stage 4"] == ["body.layer4"]
    assert any("attn" in name or "hmhsa" in name for part in edited["parts"].values() for name in part)
    shown = run("profile", made, "--input-size", "64x64").output
    assert "Semantic FPN" in shown
    assert "--decoder semantic_fpn builds one around it" in run("profile", made, "test_resnet").stderr
    assert "whole segmenters are only counted" in run("profile", made, "--latency").stderr

"""Pictures as they look: upright, gray by its range, whatever the file's form; read alike in every place."""

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures_on_disk import fill, paint, seen
from PIL import Image, ImageOps

from hmhsa_insert.training.data import Data, open_data
from hmhsa_insert.training.data.pictures import as_it_looks, picture_endings, read_picture
from hmhsa_insert.training.loader import read_or_next
from hmhsa_insert.training.schema import LoaderSettings

# A 2×3 picture of which every turn is another one.
CORNERS = np.array([[10, 60, 110], [160, 210, 250]], dtype=np.uint8)
# What a camera did to it by the numbers of EXIF's orientation: how the stored pixels come from the upright ones.
STORED = {
    1: CORNERS,
    2: CORNERS[:, ::-1],
    3: CORNERS[::-1, ::-1],
    4: CORNERS[::-1],
    5: CORNERS.T,
    6: np.rot90(CORNERS),
    7: CORNERS.T[::-1, ::-1],
    8: np.rot90(CORNERS, -1),
}


def _again(image: Image.Image, form: str, **options: Any) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return read_picture(io.BytesIO(buffer.getvalue()))


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


@pytest.mark.parametrize("orientation", sorted(STORED))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_every_orientation_in_every_form(form: str, orientation: int) -> None:
    big = np.kron(STORED[orientation], np.ones((16, 16), np.uint8))
    lossless = {"lossless": True} if form == "WEBP" else {"quality": 100} if form == "JPEG" else {}
    mode = "RGB" if form == "WEBP" else "L"
    found = _again(Image.fromarray(big).convert(mode), form, exif=_exif(orientation), **lossless).convert("L")
    assert found.size == (48, 32)
    assert np.abs(np.asarray(found)[8::16, 8::16].astype(int) - CORNERS).max() <= 2


@pytest.mark.parametrize("mode", ["I;16", "F", "P", "1", "RGBA"])
def test_modes_are_turned_too(mode: str) -> None:
    stored = Image.fromarray((STORED[6] > 100).astype(np.uint8) * 255)
    if mode == "I;16":
        stored = Image.fromarray(np.asarray(stored).astype(np.uint16) * 257)
    elif mode != "L":
        stored = stored.convert(mode)
    stored.info["exif"] = _exif(6).tobytes()
    found = np.asarray(as_it_looks(stored).convert("L"))
    assert (found == (CORNERS > 100) * 255).all()


def test_a_turn_is_made_once() -> None:
    once = as_it_looks(Image.open(_file(Image.fromarray(STORED[6]), "PNG", exif=_exif(6))))
    assert (np.asarray(as_it_looks(once)) == CORNERS).all()


def test_a_damaged_exif_block_turns_nothing() -> None:
    image = Image.fromarray(CORNERS)
    image.info["exif"] = b"Exif\0\0MM\0*\xff\xff\xff\xff"
    assert (np.asarray(as_it_looks(image)) == CORNERS).all()


def _file(image: Image.Image, form: str, **options: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return io.BytesIO(buffer.getvalue())


LEVELS = np.array([[0, 6000, 50000, 65535]], dtype=np.uint16)
SEEN = [0, 23, 195, 255]


@pytest.mark.parametrize(
    ("pixels", "form", "expected"),
    [
        (LEVELS, "PNG", SEEN),
        (LEVELS, "TIFF", SEEN),
        (LEVELS, "PPM", SEEN),
        (LEVELS.astype(np.int32), "TIFF", SEEN),
        # Dark ones in 16 bits stay dark: it is the form's range that counts, not the picture's.
        (np.array([[0, 100, 255]], np.uint16), "PNG", [0, 0, 0]),
        (np.array([[0, 100, 255]], np.uint16), "PPM", [0, 0, 0]),
        # 32 bits have no white of their own: the smallest usual range that fits.
        (np.array([[0, 100, 255]], np.int32), "TIFF", [0, 100, 255]),
        (np.array([[0, 2**30, 2**31 - 1]], np.int32), "TIFF", [0, 128, 255]),
        (np.array([[0, 0.5, 1]], np.float32), "TIFF", [0, 128, 255]),
        (np.array([[0, 100, 255]], np.float32), "TIFF", [0, 100, 255]),
        (np.array([[0, 25600, 65535]], np.float32), "TIFF", [0, 100, 255]),
        (np.array([[-5, np.nan, 1e6]], np.float32), "TIFF", [0, 0, 255]),
    ],
)
def test_gray_levels_by_their_range(pixels: Any, form: str, expected: list[int]) -> None:
    found = _again(Image.fromarray(pixels), form)
    assert found.mode == "L"
    assert np.asarray(found)[0].tolist() == expected


def test_unsigned_numbers_of_32_bits() -> None:
    written = _file(Image.fromarray(np.array([[0, 2**31, 2**32 - 1]], np.uint32)), "TIFF").getvalue()
    signed, unsigned = (b"\x53\x01\x03\x00\x01\x00\x00\x00" + bytes([kind]) for kind in (2, 1))
    assert signed in written  # Pillow says signed whatever was given to it
    found = read_picture(io.BytesIO(written.replace(signed, unsigned)))
    assert np.asarray(found)[0].tolist() == [0, 128, 255]


def test_big_endian_sixteen_bits() -> None:
    image = Image.frombytes("I;16B", (4, 1), LEVELS.astype(">u2").tobytes())
    assert np.asarray(as_it_looks(image))[0].tolist() == SEEN


def test_sixteen_and_eight_bits_of_one_picture_are_read_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name, level in (("dark", 6000), ("bright", 50000)):
            for index in range(count):
                deep = (level + rng.integers(-2000, 2000, (40, 40))).astype(np.uint16)
                for kind, pixels in (("deep", deep), ("eight", (deep >> 8).astype(np.uint8))):
                    path = tmp_path / kind / split / name / f"{index}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(path)
    deep_set, eight = open_data(str(tmp_path / "deep")), open_data(str(tmp_path / "eight"))
    assert deep_set.channels == eight.channels == 1
    for index in range(8):
        pair = [np.asarray(read_or_next(d.train, index, "L")[1]) for d in (deep_set, eight)]  # type: ignore[arg-type]
        assert (pair[0] == pair[1]).all()
    means = [np.asarray(deep_set.val.image(i)).mean() for i in range(4)]  # type: ignore[union-attr]
    assert [round(mean) // 20 for mean in means] == [9, 9, 1, 1]  # bright about 195, dark about 23


@pytest.mark.parametrize(
    "ending",
    ["jpg", "JPG", "png", "webp", "bmp", "tif", "TIFF", "gif", "jfif", "jpeg", "ppm", "jp2", "tga", "avif"],
)
def test_every_ending_is_read(tmp_path: Path, ending: str) -> None:
    if f".{ending.lower()}" not in picture_endings():
        pytest.skip("this Pillow cannot")
    form = {"jpg": "JPEG", "jfif": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(
        ending.lower(), ending.upper()
    )
    for name in ("cat", "dog"):
        for index in range(3):
            paint(tmp_path / name / f"{index}.png", 40 if name == "cat" else 200)
            path = tmp_path / name / f"{index}.png"
            Image.open(path).save(tmp_path / name / f"{index}.{ending}", form)
            if ending != "png":
                path.unlink()
    data = open_data(str(tmp_path), loader=LoaderSettings(val_share=0.34))
    assert not any("left out" in note for note in data.notes)
    for split in (data.train, data.val):
        for index, (_, target) in enumerate(seen(split)):
            image = np.asarray(split.image(index).convert("RGB"))  # type: ignore[union-attr]
            assert abs(image.mean() - (40, 200)[target]) < 12


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is None, reason="pillow-heif is not installed")
def test_heic_is_read_upright_with_its_plugin(tmp_path: Path) -> None:
    import pillow_heif

    picture_endings.cache_clear()
    assert ".heic" in picture_endings()
    big = Image.fromarray(np.kron(STORED[6], np.ones((32, 32), np.uint8))).convert("RGB")
    pillow_heif.register_heif_opener()
    big.save(tmp_path / "0.heic", exif=_exif(6).tobytes(), quality=100)
    with (tmp_path / "0.heic").open("rb") as file:
        found = np.asarray(read_picture(file).convert("L"))
    assert np.abs(found[16::32, 16::32].astype(int) - CORNERS).max() <= 6


# Channels


def _channels(root: Path, **loader: Any) -> Data:
    return open_data(str(root), loader=LoaderSettings(**loader))


def test_gray_with_a_few_in_color(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 30, "b": 30}, mode="L")
    assert _channels(tmp_path).channels == 1
    paint(tmp_path / "a" / "17.png", mode="RGB")
    data = _channels(tmp_path)
    assert data.channels == 3
    said = "59 of 60 images looked at are gray, 1 have color: all are read as"
    assert f"{said} RGB (`overrides=['loader.channels=1']` reads them as gray)" in data.notes
    chosen = _channels(tmp_path, channels=1)
    assert chosen.channels == 1
    assert f"{said} gray, as loader.channels says" in chosen.notes


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "P"])
def test_gray_in_other_forms(tmp_path: Path, mode: str) -> None:
    for name in ("a", "b"):
        for index in range(3):
            gray = Image.fromarray(np.full((8, 8), 40 * index, np.uint8))
            path = tmp_path / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = (
                Image.fromarray(np.asarray(gray).astype(np.uint16) * 256)
                if mode == "I;16"
                else gray.convert(mode)
            )
            image.save(path)
    assert _channels(tmp_path).channels == 1


def test_a_palette_of_colors_is_color(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3, "b": 3}, mode="P")
    assert _channels(tmp_path).channels == 3


# Detection reads as classification does


@pytest.mark.parametrize(
    ("orientation", "side"),
    [(3, (80, 60)), (6, (60, 60)), (2, (80, 60)), (6, (60, 80)), (5, (60, 80)), (8, (80, 60))],
)
def test_training_evaluation_and_detect_see_the_object_where_its_box_is(
    tmp_path: Path, orientation: int, side: tuple[int, int]
) -> None:
    pytest.importorskip("pycocotools")
    from hmhsa_insert.detection.coco_data import open_coco
    from hmhsa_insert.detection.predict import read_image

    width, height = side
    upright = np.zeros((height, width), np.uint8)
    upright[4:14, 6:26] = 255
    turns = {
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        5: upright.T,
        6: np.rot90(upright),
        8: np.rot90(upright, -1),
    }
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [6, 4, 20, 10], "area": 200, "iscrowd": 0}
    for split in ("train", "val"):
        image = {"id": 1, "file_name": "1.png", "width": width, "height": height}
        whole = {"images": [image], "categories": [{"id": 1, "name": "x"}], "annotations": [box]}
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(whole))
        (tmp_path / "images" / split).mkdir(parents=True)
        stored = Image.fromarray(np.ascontiguousarray(turns[orientation]))
        stored.save(tmp_path / "images" / split / "1.png", exif=_exif(orientation))
    data = open_coco(tmp_path)
    for split in (data.train, data.val):
        pixels = np.asarray(split.image(0).convert("L"))
        x0, y0, x1, y1 = split.target(0)["boxes"][0].int().tolist()
        assert pixels[y0:y1, x0:x1].sum() == pixels.sum() == 200 * 255
    assert (read_image(tmp_path / "images/train/1.png").numpy()[0] == pixels).all()


def test_detect_and_training_see_sixteen_bits_alike(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    from hmhsa_insert.detection.annotations import ImageRecord
    from hmhsa_insert.detection.coco_data import CocoSplit
    from hmhsa_insert.detection.predict import read_image

    Image.fromarray(np.full((8, 8), 6000, np.uint16)).save(tmp_path / "0.png")
    split = CocoSplit(tmp_path, (ImageRecord(1, "0.png", 8, 8, ()),), {1: 1}, False)
    assert set(np.asarray(split.image(0)).reshape(-1).tolist()) == {23}
    assert set(read_image(tmp_path / "0.png").reshape(-1).tolist()) == {23}


def test_what_is_upright_for_pillow_is_upright_here(tmp_path: Path) -> None:
    for orientation in STORED:
        path = tmp_path / f"{orientation}.png"
        Image.fromarray(np.ascontiguousarray(STORED[orientation])).save(path, exif=_exif(orientation))
        with path.open("rb") as file:
            assert (
                np.asarray(read_picture(file)) == np.asarray(ImageOps.exif_transpose(Image.open(path)))
            ).all()


@pytest.mark.parametrize(("depth", "said"), [(np.uint16, True), (np.uint8, False)])
def test_levels_of_sixteen_bits_are_said_to_be_read_with_eight(
    tmp_path: Path, depth: Any, said: bool
) -> None:
    for number in range(4):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 40 * number, depth)).save(path)
    text = "4 of 4 images looked at have gray levels of more than 8 bits and are read with 8"
    assert any(text in note for note in open_data(str(tmp_path)).notes) is said

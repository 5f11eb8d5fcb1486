"""Folder trees drawn at random against a reference of a few lines; the same in every process and file system."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures_on_disk import seen
from PIL import Image

from hmhsa_insert.training.data import open_scored
from hmhsa_insert.training.loader import read_or_next
from hmhsa_insert.training.names import shown
from hmhsa_insert.training.problems import DataError

HERE = Path(__file__).parent
PICTURES = (".png", ".jpg", ".JPG", ".webp", ".gif", ".bmp", ".tif")
OTHERS = (".txt", ".csv", "", ".xml", ".mp4")
SYSTEM = (".hidden", "@eaDir", "__MACOSX", "._x", "Thumbs.db", ".ipynb_checkpoints")
MODES = ("RGB", "L", "P", "RGBA", "I;16")

word = st.one_of(
    st.sampled_from(
        ["a", "A", "b", "01", "1", "cat", "Cat", "train", "day 1", "é", "e\u0301", "\udce9x", "new\nline"]
    ),
    st.text(
        st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]),
        min_size=1,
        max_size=4,
    ),
).filter(lambda name: name not in (".", "..") and not name.startswith(".") and len(os.fsencode(name)) < 60)
folder = st.one_of(word, word, word, st.sampled_from(SYSTEM))
file = st.tuples(word, st.sampled_from(PICTURES + OTHERS)).map("".join)
entry = st.tuples(st.lists(folder, min_size=1, max_size=3), st.one_of(file, file, st.sampled_from(SYSTEM)))
trees = st.lists(st.tuples(entry, st.sampled_from((*MODES, "damaged"))), min_size=1, max_size=14)


def _write(root: Path, tree: list[tuple[tuple[list[str], str], str]]) -> list[str]:
    """Write the files that can be; return their paths."""
    written = []
    for (folders, name), mode in tree:
        path = root.joinpath(*folders, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                continue
            path.write_bytes(_content(name, mode))
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
        written.append(path.relative_to(root).as_posix())
    return written


def _content(name: str, mode: str) -> bytes:
    form = {".jpg": "JPEG", ".tif": "TIFF"}.get(name[-4:].lower(), name.rpartition(".")[2].upper() or "PNG")
    if mode == "damaged" or not name.lower().endswith(PICTURES):
        return b"no picture"
    image = Image.fromarray(np.full((3, 4), 77, np.uint8))
    image = (
        Image.fromarray(np.asarray(image).astype(np.uint16) * 256) if mode == "I;16" else image.convert(mode)
    )
    with tempfile.TemporaryFile() as file:
        (image if form in ("PNG", "TIFF") else image.convert("RGB")).save(file, form)
        file.seek(0)
        return file.read()


def reference(paths: list[str]) -> tuple[set[tuple[str, str]], int, set[str]]:
    """Return pictures with their classes, how many files are no pictures, and what is hidden or the system's."""
    pictures, others, system = set(), 0, set()
    for path in paths:
        parts = path.split("/")
        hidden = [n for n, part in enumerate(parts) if part.startswith(".") or part in SYSTEM]
        if hidden:
            system.add("/".join(parts[: hidden[0] + 1]))
        elif parts[-1].lower().endswith(PICTURES) and len(parts[-1]) > len(os.path.splitext(parts[-1])[1]):
            pictures.add((path, parts[0]))
        else:
            others += 1
    return pictures, others, system


def _agrees(root: Path, paths: list[str]) -> None:
    pictures, others, system = reference(paths)
    try:
        data = open_scored(str(root))
    except DataError as error:
        said = str(error)
        assert not pictures or "ways; choose one" in said or "splits that lie inside a class" in said
        return
    found = {(name, data.classes[target]) for name, target in seen(data.val)}
    expected = {(shown(path), shown(name)) for path, name in pictures}
    if not any("training" in note or "scored: '" in note for note in data.notes):
        assert found == expected
        assert len(data.val) == len(pictures)
    said = " ".join(data.notes)
    assert (f"left out: {len(system)} hidden" in said) == bool(system)
    left = [note for note in data.notes if note.startswith("left out") and "hidden" not in note]
    kinds = re.findall(r"(?:^|, |: )([0-9,]+) ", " ".join(left).partition(" (pip")[0])
    counts = [int(count.replace(",", "")) for count in kinds]
    assert sum(counts) == others or "other endings" in said
    images = data.val
    for index in range(len(images)):
        try:
            image = images.image(index)  # type: ignore[union-attr]
        except Exception:
            continue  # a damaged one, which the loop counts and names
        assert set(np.asarray(image.convert("L")).reshape(-1).tolist()) <= {0, 255, *range(72, 83)}


@given(trees)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_labels_are_those_of_the_reference_and_nothing_is_dropped_unsaid(tree: list[object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = _write(Path(folder), tree)  # type: ignore[arg-type]
        _agrees(Path(folder), paths)


@pytest.mark.long
@given(st.lists(trees, min_size=12, max_size=12))
@settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
def test_processes_of_other_hash_seeds_on_two_file_systems_agree(drawn: list[list[object]]) -> None:
    places = [
        Path(tempfile.mkdtemp(dir=place)) for place in ("/dev/shm", "/tmp") if os.access(place, os.W_OK)
    ]
    try:
        for number, tree in enumerate(drawn):
            (places[0] / str(number)).mkdir()
            _write(places[0] / str(number), tree)  # type: ignore[arg-type]
        # Written the other way round, so that its folders list their files in another order.
        for path in sorted(places[0].rglob("*"), reverse=True):
            target = places[1] / path.relative_to(places[0])
            (target if path.is_dir() else target.parent).mkdir(parents=True, exist_ok=True)
            if path.is_file():
                shutil.copyfile(path, target)
        said = set()
        for seed, place in enumerate(places):
            environment = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": os.pathsep.join(sys.path)}
            command = [sys.executable, str(HERE / "tree_driver.py")]
            roots = [str(place / str(number)) for number in range(len(drawn))]
            done = subprocess.run(
                [*command, *roots], env=environment, capture_output=True, text=True, check=True
            )
            said.add(done.stdout)
        assert len(said) == 1
        assert len(next(iter(said)).splitlines()) == len(drawn)
    finally:
        for place in places:
            shutil.rmtree(place)


def test_a_damaged_picture_is_another_in_training_and_named(tmp_path: Path) -> None:
    paths = _write(
        tmp_path, [((["a"], "0.png"), "damaged"), ((["a"], "1.png"), "RGB"), ((["b"], "0.png"), "RGB")]
    )
    assert len(paths) == 3
    data = open_scored(str(tmp_path))
    assert [read_or_next(data.val, index)[0] for index in range(3)] == [1, 1, 2]  # type: ignore[arg-type]

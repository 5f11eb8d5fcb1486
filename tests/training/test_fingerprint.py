"""Data known by what is in its files: the same anywhere, another one where a byte is another."""

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pictures_on_disk import fill, paint
from training_nets import QUICK, Told

from hmhsa_insert.training import read_config, read_result, train
from hmhsa_insert.training.data import digests, open_data
from hmhsa_insert.training.data.digests import covers_contents, file_digests
from hmhsa_insert.training.data.tree import File, scan
from hmhsa_insert.training.problems import RunError, Stopped
from hmhsa_insert.training.reporter import Silent

SETTINGS = QUICK | {"batch_size": 8, "loader": {"workers": 0}}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where digests are kept, of however few and new files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "KEPT_FROM", 1)
    monkeypatch.setattr(digests, "_TICK_NS", -(10**18))
    return tmp_path / "cache" / "hmhsa-insert" / "digests"


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return fill(tmp_path / "pets", {f"{s}/{c}": 4 for s in ("train", "val") for c in ("cat", "dog")})


def _fingerprint(root: Path | str) -> str:
    return open_data(str(root)).fingerprint


@pytest.mark.parametrize("waited", [0.0, float("inf")], ids=["several threads", "one thread"])
@pytest.mark.parametrize("piece", [1 << 22, 7], ids=["whole files", "pieces"])
def test_a_digest_is_that_of_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waited: float, piece: int
) -> None:
    for name, value in {"_WAITED": waited, "_AT_ONCE": 3, "_PIECE": piece}.items():
        monkeypatch.setattr(digests, name, value)
    contents = {f"{number}.png": bytes([number]) * number for number in range(20)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    files = [file for files in scan(tmp_path).pictures.values() for file in files]
    done: list[tuple[int, int]] = []
    found = file_digests(tmp_path, files, lambda *place: done.append(place))
    assert found == [hashlib.sha256(contents[file.path]).digest()[:16] for file in files]
    assert done == [(count, 20) for count in (3, 6, 9, 12, 15, 18, 20)]


def test_the_same_data_elsewhere_and_otherwise_spelled(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _fingerprint(pets)
    assert covers_contents(first)
    shutil.copytree(pets, tmp_path / "a copy" / "ü")
    (tmp_path / "link").symlink_to(pets)
    monkeypatch.chdir(tmp_path)
    spelled = ("pets", "./pets", "pets/", "pets/../pets", tmp_path / "a copy" / "ü", "link")
    assert {_fingerprint(path) for path in spelled} == {first}


@pytest.mark.parametrize("place", ["/dev/shm", "/var/tmp"])
def test_the_same_data_on_another_file_system(pets: Path, place: str) -> None:
    if not os.access(place, os.W_OK):
        pytest.skip(f"no {place}")
    there = Path(place) / f"hmhsa-{os.getpid()}"
    try:
        # Written in another order, which some file systems list it in.
        for path in sorted(pets.rglob("*.png"), reverse=True):
            target = there / path.relative_to(pets)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        assert _fingerprint(there) == _fingerprint(pets)
    finally:
        shutil.rmtree(there, ignore_errors=True)


def _replace(path: Path) -> None:
    """Put other bytes of equal number in a file's place, and its times back."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "other pixels": lambda root: paint(root / "train/cat/0.png", 250),
    "equal size and times": lambda root: _replace(root / "train/dog/2.png"),
    "a picture more": lambda root: paint(root / "val/cat/9.png"),
    "a picture less": lambda root: (root / "train/cat/3.png").unlink(),
    "another name": lambda root: (root / "train/cat/3.png").rename(root / "train/cat/4.png"),
    "another class": lambda root: (root / "train/cat/3.png").rename(root / "train/dog/33.png"),
    "two swapped": lambda root: _swap(root / "train/cat/1.png", root / "train/dog/1.png"),
}


def _swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


@pytest.mark.parametrize("change", CHANGES)
def test_other_data_is_another(pets: Path, kept: Path, change: str) -> None:
    first = _fingerprint(pets)
    assert _fingerprint(pets) == first
    assert list(kept.glob("*.digests"))
    CHANGES[change](pets)
    assert _fingerprint(pets) != first


def test_what_was_digested_is_not_read_again(pets: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _fingerprint(pets)
    read: list[str] = []
    original = digests._digest

    def counted(path: str, file: File) -> bytes:
        read.append(file.path)
        return original(path, file)

    monkeypatch.setattr(digests, "_digest", counted)
    assert _fingerprint(pets) == first
    assert read == []
    paint(pets / "train/cat/0.png", 250)
    _fingerprint(pets)
    assert read == ["train/cat/0.png"]


def test_a_file_written_to_a_moment_ago_is_read_again(
    pets: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_TICK_NS", 2_000_000_000)
    files = [file for files in scan(pets).pictures.values() for file in files]
    first = file_digests(pets, files)
    (path,) = kept.glob("*.digests")
    assert digests._load(path) == {}
    time.sleep(2.1)
    assert file_digests(pets, files) == first
    assert len(digests._load(path)) == len(files)


@pytest.mark.parametrize("damage", [b"", b"hmhsa", b"\0" * 4000, None])
def test_a_damaged_store_of_digests_only_costs_time(pets: Path, kept: Path, damage: bytes | None) -> None:
    first = _fingerprint(pets)
    (path,) = kept.glob("*.digests")
    path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
    assert _fingerprint(pets) == first
    path.unlink()
    path.mkdir()
    assert _fingerprint(pets) == first


def test_progress_is_told(pets: Path) -> None:
    told: list[tuple[int, int]] = []
    open_data(str(pets), watch=lambda done, total: told.append((done, total)))
    assert told == [(16, 16)]


# Runs


class _StopSoon(Silent):
    def step(self, step: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def _go_on(data: str, run: Path, reporter: Any = None) -> str:
    settings = SETTINGS | {"epochs": 40}
    with pytest.raises((Stopped, RunError)) as caught:
        train("training_nets:plain", data, settings=settings, folder=run, reporter=reporter or _StopSoon())
    return str(caught.value)


def test_a_stopped_run_goes_on_with_its_data_wherever_it_is(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spelled = ["pets", "pets/", "./pets", str(pets)]
    for number, data in enumerate(spelled, 1):
        assert f"stopped after update {number}," in _go_on(data, tmp_path / "run")
    (tmp_path / "scratch").mkdir()
    shutil.move(pets, tmp_path / "scratch" / "other name")
    shutil.move(tmp_path / "run", tmp_path / "renamed ü")
    assert "stopped after update 5," in _go_on("scratch/other name", tmp_path / "renamed ü")
    paint(tmp_path / "scratch/other name/val/dog/0.png", 9)
    assert "data.fingerprint is contents-" in _go_on("scratch/other name", tmp_path / "renamed ü")


def _as_before(run: Path, **changes: Any) -> None:
    """Make a run's configuration one of the version before data was known by its contents."""
    config = read_config(run)
    data = config["data"]
    data["fingerprint"] = data.pop("names_fingerprint")
    data.pop("class_names")
    data.update(changes)
    for key in ("train", "val", "channels"):
        del config["settings"]["loader"][key]
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def test_a_run_of_an_earlier_version_goes_on_and_says_what_it_does_not_know(
    pets: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert "stopped after update 1," in _go_on(str(pets), run)
    _as_before(run)
    told = Told()
    done = train(
        "training_nets:plain", str(pets), settings=SETTINGS | {"epochs": 40}, folder=run, reporter=told
    )
    assert done.epochs == 40
    assert "going on after update 1 (epoch 1)" in told.notes
    assert sum("this run is of an earlier version" in note for note in told.notes) == 1
    assert read_result(run) == done


def test_a_run_of_an_earlier_version_on_other_data_is_refused(pets: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _go_on(str(pets), run)
    _as_before(run)
    shutil.copytree(pets, tmp_path / "elsewhere")
    assert "data.source is" in _go_on(str(tmp_path / "elsewhere"), run)
    (pets / "train/cat/0.png").rename(pets / "train/cat/00.png")
    assert "data.fingerprint is" in _go_on(str(pets), run)


def test_a_finished_run_of_an_earlier_version_is_scored(pets: Path, tmp_path: Path) -> None:
    from hmhsa_insert.training.score import candidate

    run = tmp_path / "run"
    train("training_nets:plain", str(pets), settings=SETTINGS, folder=run)
    _as_before(run)
    what = candidate(run, allow_code=True)
    assert what.unseen
    assert any("whether pictures were replaced since is not known" in note for note in what.run.data.notes)
    assert any("matched by their order" in note for note in what.run.data.notes)
    told = Told()
    train("training_nets:plain", str(pets), settings=SETTINGS, folder=run, reporter=told)
    assert any("this run is of an earlier version" in note for note in told.notes)


def test_a_split_that_an_earlier_version_made_otherwise_is_another(tmp_path: Path) -> None:
    """It left rare classes out of validation: going on would train on what was held out."""
    plain, rare = fill(tmp_path / "plain", {"a": 20, "b": 20}), fill(tmp_path / "rare", {"a": 20, "b": 1})
    assert len(open_data(str(plain)).names_fingerprint) == 16
    assert open_data(str(rare)).names_fingerprint.endswith(", held out by class")


def test_coco_sets_are_known_by_their_images_too(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    import json

    from hmhsa_insert.detection.coco_data import open_coco

    for split in ("train", "val"):
        image = {"id": 1, "file_name": "1.png", "width": 16, "height": 16}
        box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 8, 8], "area": 64, "iscrowd": 0}
        whole = {"images": [image], "categories": [{"id": 1, "name": "x"}], "annotations": [box]}
        (tmp_path / "set/annotations").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"set/annotations/instances_{split}.json").write_text(json.dumps(whole))
        paint(tmp_path / f"set/images/{split}/1.png")
    first = open_coco(tmp_path / "set")
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    assert open_coco(tmp_path / "copy").fingerprint == first.fingerprint
    paint(tmp_path / "set/images/val/1.png", 200)
    changed = open_coco(tmp_path / "set")
    assert changed.fingerprint != first.fingerprint
    assert changed.names_fingerprint == first.names_fingerprint

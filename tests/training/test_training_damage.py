"""Damage under a run: checkpoints that are not as they were written, folders that go, disks that are full."""

import json
import os
import pickle
import resource
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_nets import QUICK, Told, few_digits, train_plain

from hmhsa_insert.training import read_result
from hmhsa_insert.training.data import Data
from hmhsa_insert.training.digests import DIGESTS, find_damage
from hmhsa_insert.training.loop import checkpoint
from hmhsa_insert.training.loop import updates as loop
from hmhsa_insert.training.loop.checkpoint import checkpoints, latest_checkpoint
from hmhsa_insert.training.problems import RunError

SAME = ("last.safetensors", "best.safetensors", "metrics.csv", "predictions.csv", "result.json")


@pytest.fixture(scope="module")
def data() -> Data:
    return few_digits()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole") / "run"
    train_plain(folder, data)
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A run that has two checkpoints and no result yet."""
    copy = tmp_path / "run"
    shutil.copytree(whole, copy)
    (copy / "result.json").unlink()
    return copy


def _flip(path: Path) -> None:
    """Flip 100 bytes in the middle."""
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 100):
        content[place] ^= 0xFF
    path.write_bytes(content)


def _flip_a_tensor(path: Path) -> None:
    """Flip a byte inside the largest record of torch's file, which its reader does not notice."""
    with zipfile.ZipFile(path) as archive:
        record = max(archive.infolist(), key=lambda each: each.file_size)
    content = bytearray(path.read_bytes())
    content[record.header_offset + 200] ^= 0x40
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGE: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "100 bytes of the optimizer": ("optimizer.bin", _flip, "is damaged: its checksum is not"),
    "one byte of a tensor": ("pytorch_model.bin", _flip_a_tensor, "is damaged: its checksum is not"),
    "half a network": ("pytorch_model.bin", _truncate, "were written"),
    "an empty file": ("run.pt", lambda path: path.write_bytes(b""), "has 0 bytes"),
    "a file that is gone": ("run.pt", Path.unlink, "is missing"),
    "no list of checksums": (DIGESTS, lambda path: path.write_text("[1]"), "is not a list of checksums"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_older_one_leads_to_the_same_bits(
    run: Path, whole: Path, data: Data, kind: str
) -> None:
    name, damage, message = DAMAGE[kind]
    newest, older = checkpoints(run / "checkpoints")
    assert (newest.name, older.name) == ("update-000000008", "update-000000004")
    damage(newest / name)
    told = Told()
    train_plain(run, data, reporter=told)
    (said,) = [note for note in told.notes if "going on from" in note]
    assert said.startswith(f"{newest / name} ")
    assert message in said
    assert "going on from update-000000004, which leads to the same result" in said
    assert "going on after update 4 (epoch 2)" in told.notes
    for file in SAME:
        assert (run / file).read_bytes() == (whole / file).read_bytes(), file
    assert find_damage(newest) is None
    assert not list((run / "checkpoints").glob(".*"))


def test_two_damaged_checkpoints_are_an_error_that_says_what_is_true(run: Path, data: Data) -> None:
    for path in checkpoints(run / "checkpoints"):
        _flip(path / "optimizer.bin")
    before = sorted(path.name for path in (run / "checkpoints").iterdir())
    with pytest.raises(RunError) as caught:
        train_plain(run, data)
    assert len(caught.value.problems) == 2
    for problem in caught.value.problems:
        assert problem.where.endswith("optimizer.bin")
        assert problem.tip == f"no older checkpoint is whole: remove {run} to start again"
    assert "learning rate" not in str(caught.value)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == before


@pytest.mark.parametrize("damage", [_flip, _flip_a_tensor, _truncate])
def test_a_checkpoint_without_checksums_has_those_of_its_archives(
    run: Path, whole: Path, data: Data, damage: Callable[[Path], None]
) -> None:
    """As versions before checksums wrote them."""
    for path in checkpoints(run / "checkpoints"):
        (path / DIGESTS).unlink()
    newest, older = checkpoints(run / "checkpoints")
    assert find_damage(older) is None
    damage(newest / "optimizer.bin")
    told = Told()
    train_plain(run, data, reporter=told)
    assert any(note.startswith(f"{newest / 'optimizer.bin'} ") for note in told.notes)
    assert (run / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


def test_bytes_that_are_no_text_are_said_as_damage(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a checkpoint without checksums, whose archives look whole."""

    def load(path: Path, **_: Any) -> Any:
        raise UnicodeDecodeError("utf-8", b"\x80", 0, 1, "invalid start byte")

    monkeypatch.setattr(checkpoint, "load", load)
    newest, _ = checkpoints(run / "checkpoints")
    said = (newest / "optimizer.bin", "cannot be read: it is damaged")
    assert checkpoint._culprit(newest, ValueError()) == said


class _Evil:
    def __reduce__(self) -> Any:
        return (os.mkdir, ("/tmp/hmhsa-insert-was-here",))


def test_a_pickle_with_code_is_not_loaded_and_no_advice_is_given_to_do_it(run: Path, data: Data) -> None:
    newest, older = checkpoints(run / "checkpoints")
    (newest / DIGESTS).unlink()
    torch.save({"state": _Evil()}, newest / "optimizer.bin", pickle_module=pickle)
    with pytest.raises(RunError) as caught:
        train_plain(run, data)
    (problem,) = caught.value.problems
    assert problem.where == str(newest / "optimizer.bin")
    assert problem.message == "holds more than tensors and plain data, which is never loaded: it may be code"
    assert problem.tip == f"remove {newest} to go on from {older.name}, or remove {run} to start again"
    assert not Path("/tmp/hmhsa-insert-was-here").exists()


def test_the_last_two_checkpoints_are_kept(tmp_path: Path, data: Data) -> None:
    train_plain(tmp_path / "run", data, settings=QUICK | {"checkpoint_steps": 1})
    names = [path.name for path in checkpoints(tmp_path / "run" / "checkpoints")]
    assert names == ["update-000000008", "update-000000007"]
    record = json.loads((tmp_path / "run/checkpoints/update-000000008" / DIGESTS).read_text())
    assert set(record["files"]) == {"optimizer.bin", "pytorch_model.bin", "random_states_0.pkl", "run.pt"}


def _at_update(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], Any]) -> None:
    original, calls = loop.Loop._close_update, 0

    def counted(self: loop.Loop) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            act()
        original(self)

    monkeypatch.setattr(loop.Loop, "_close_update", counted)


@pytest.mark.parametrize("update", [1, 3, 6])
def test_a_run_folder_that_is_removed_under_the_training(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch, update: int
) -> None:
    folder = tmp_path / "run"
    _at_update(monkeypatch, update, lambda: shutil.rmtree(folder))
    with pytest.raises(RunError, match=r"gone.*the same command starts again"):
        train_plain(folder, data, settings=QUICK | {"checkpoint_steps": 3})
    assert not folder.exists()
    monkeypatch.undo()
    assert train_plain(folder, data).epochs == 2


def test_checkpoints_that_are_removed_under_the_training_are_written_again(
    tmp_path: Path, data: Data, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    _at_update(monkeypatch, 6, lambda: shutil.rmtree(folder / "checkpoints"))
    train_plain(folder, data)
    assert latest_checkpoint(folder / "checkpoints") == folder / "checkpoints" / "update-000000008"
    assert (folder / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


@pytest.mark.parametrize("limit", [0, 100, 1500, 4000, 8000, 12000])
def test_no_file_may_grow(
    tmp_path: Path, data: Data, whole: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Every writer (torch's, safetensors', pandas', matplotlib's) meets a real refusal of the system."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    _at_update(monkeypatch, 6, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1])))
    try:
        with pytest.raises(
            RunError, match=r"cannot be written: the disk is full \(.*make room and run the same"
        ):
            train_plain(tmp_path / "run", data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_result(tmp_path / "run") is None
    assert not list((tmp_path / "run").rglob(".writing*"))
    (kept,) = checkpoints(tmp_path / "run" / "checkpoints")
    assert kept.name == "update-000000004"
    monkeypatch.undo()
    train_plain(tmp_path / "run", data)
    for file in SAME:
        assert (tmp_path / "run" / file).read_bytes() == (whole / file).read_bytes(), file


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"run_id": 3}'])
def test_a_damaged_result_is_written_anew_as_is_said(
    whole: Path, tmp_path: Path, data: Data, text: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / "result.json").write_text(text)
    said = r"result\.json.*it is damaged: .*remove it: the same training goes on from the last checkpoint"
    with pytest.raises(RunError, match=said):
        train_plain(folder, data)
    assert (folder / "result.json").read_text() == text
    (folder / "result.json").unlink()
    train_plain(folder, data)
    assert (folder / "result.json").read_bytes() == (whole / "result.json").read_bytes()


def test_an_empty_table_of_times_is_said_before_anything_is_trained(
    run: Path, whole: Path, data: Data
) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.csv")}
    (run / "timing.csv").write_text("")
    with pytest.raises(RunError, match=r"timing\.csv: cannot be read: .*\(remove it to go on: "):
        train_plain(run, data)
    assert (run / "timing.csv").read_text() == ""
    assert {path: path.stat().st_mtime_ns for path in before if path.name != "timing.csv"} == {
        path: time for path, time in before.items() if path.name != "timing.csv"
    }
    (run / "timing.csv").unlink()
    train_plain(run, data)
    assert (run / "result.json").read_bytes() == (whole / "result.json").read_bytes()

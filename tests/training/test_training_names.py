"""Names of runs and images that no terminal shows: not UTF-8, very long, with newlines and escape codes."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from training_nets import QUICK, few_digits, train_plain

from hmhsa_insert.training import read_config, read_result, score
from hmhsa_insert.training.data import Data
from hmhsa_insert.training.data.images import ChosenImages
from hmhsa_insert.training.names import shown
from hmhsa_insert.training.problems import RunError
from hmhsa_insert.training.run_folder import folder_name

ODD = {
    "no UTF-8": os.fsdecode(b"caf\xe9"),
    "newline": "two\nlines",
    "escape": "red\x1b[31m\x07",
    "bidirectional": "abc\u202etxt.exe",
    "quotes": "a\"b,'c;=1+1",
    "long": "n" * 200,
}


class _Named(ChosenImages):
    """Images of odd names, one of which cannot be read."""

    odd = ""

    def name(self, index: int) -> str:
        return f"{shown(self.odd)}/{index}"

    def image(self, index: int) -> Any:
        if index == 3:
            raise OSError("image file is truncated")
        return super().image(index)


def _data(odd: str) -> Data:
    data = few_digits(40, 16)
    splits = {}
    for name in ("train", "val"):
        images = getattr(data, name)
        splits[name] = _Named(images, range(len(images.targets)))
        splits[name].odd = odd
    return replace(data, source=f"/data/{odd}", **splits)


@pytest.mark.parametrize("kind", ODD)
def test_a_run_of_odd_names_ends_and_is_read_again(tmp_path: Path, kind: str) -> None:
    odd = ODD[kind]
    folder = tmp_path / odd / "run"
    result = train_plain(folder, _data(odd), settings=QUICK | {"batch_size": 20})
    assert result.damaged == (f"{shown(odd)}/3",)
    assert read_result(folder) == result
    assert read_config(folder)["data"]["source"] == f"/data/{odd}"
    assert train_plain(folder, _data(odd), settings=QUICK | {"batch_size": 20}) == result
    text = (folder / "result.json").read_bytes().decode("utf-8")
    assert json.loads(text)["damaged"] == [f"{shown(odd)}/3"]
    rows = pd.read_csv(folder / "predictions.csv")
    assert rows.image.tolist() == [f"{shown(odd)}/{n}" for n in range(16) if n != 3]
    assert score.evaluate(folder, _data(odd), allow_code=True).top1 == result.top1
    (folder / "result.json").unlink()
    assert train_plain(folder, _data(odd), settings=QUICK | {"batch_size": 20}) == result


def test_a_folder_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written: File name too long"):
        train_plain(tmp_path / ("n" * 300))
    with pytest.raises(RunError, match=r"cannot be written: .*null byte"):
        train_plain(tmp_path / "n\0n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ODD)
def test_the_folder_of_a_run_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    folder = train_plain(None, _data(ODD[kind]), settings=QUICK | {"batch_size": 20}).folder  # type: ignore[arg-type]
    assert folder.parent == Path("runs")
    assert folder.name.isprintable()
    assert len(folder.name.encode()) <= 200
    assert (folder / "result.json").is_file()


def test_names_of_folders() -> None:
    assert folder_name("irb_tiny-plain-digits-s0") == "irb_tiny-plain-digits-s0"
    assert folder_name("人-ü") == "人-ü"
    assert folder_name("a\nb").startswith("a_b-")
    assert folder_name("a\nb") != folder_name("a\tb")
    assert len(folder_name("人" * 300).encode()) <= 200
    assert "/" not in folder_name("a/../b")

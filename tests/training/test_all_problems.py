"""All problems of a training in one error, found before what is in the data's files is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_training_commands import _run

from hmhsa_insert.errors import HmhsaInsertError, PlanError, Problem, RecipeError, WeightsError
from hmhsa_insert.training.data import digests
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.problems import DataError, Problems, SettingsError, StartError
from hmhsa_insert.training.run import train

MISFIT = {
    "version": 1,
    "edits": [{"op": "insert", "id": "a", "at": {"stage": 7}, "block": {"type": "hmhsa", "head_dim": 8}}],
}
SMALL = {"epochs": 1, "batch_size": 2, "input_size": 32, "compute": {"device": "cpu"}}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


WRONG: dict[str, tuple[dict[str, Any], type[HmhsaInsertError], str]] = {
    "option": ({"detector": "retinanet"}, HmhsaInsertError, "detector: the task 'classify' does not"),
    "setting": ({"overrides": ["epochz=1"]}, SettingsError, "unknown key 'epochz'"),
    "override": ({"overrides": ["nonsense"]}, SettingsError, "nonsense: is not a setting"),
    "recipe": ({"recipe": "stag3"}, RecipeError, "did you mean 'stage3'"),
    "model": ({"model": "test_resnett"}, HmhsaInsertError, "neither timm nor torchvision has a network"),
    "weights": ({"init_from": "no.safetensors"}, WeightsError, "no.safetensors: there is no such file"),
    "data": ({"data": "nowhere"}, DataError, "no such folder, and no data set of that name"),
    "fit": ({"recipe": MISFIT}, PlanError, "no stage 7"),
}
PAIRS = [(a, b) for a in WRONG for b in WRONG if a < b and {a, b} != {"fit", "recipe"}]
# Where a network's maps are measured is a setting, and on which network is not known.
UNKNOWABLE = [{"fit", "setting"}, {"fit", "override"}, {"fit", "model"}, {"weights", "model"}]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=str)
def test_both_of_two_problems_are_listed(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: str, second: str
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments: dict[str, Any] = {"model": "test_resnet", "data": pictures, "settings": SMALL}
    wrong = [WRONG[name] for name in (first, second)]
    for more, _, _ in wrong:
        both = [*arguments.get("overrides", []), *more.get("overrides", [])]
        arguments |= more | ({"overrides": both} if both else {})
    with pytest.raises(HmhsaInsertError) as caught:
        train(arguments.pop("model"), arguments.pop("data"), folder="run", **arguments)
    said = str(caught.value)
    unknowable = {first, second} in UNKNOWABLE
    assert sum(text in said for _, _, text in wrong) == (1 if unknowable else 2), said
    kinds = {kind for _, kind, _ in wrong}
    assert type(caught.value) is StartError or unknowable or len(kinds) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


@pytest.mark.parametrize("name", WRONG)
def test_one_problem_keeps_its_class(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    more, kind, text = WRONG[name]
    arguments: dict[str, Any] = {"model": "test_resnet", "data": pictures, "settings": SMALL} | more
    with pytest.raises(kind) as caught:
        train(arguments.pop("model"), arguments.pop("data"), folder="run", **arguments)
    assert not isinstance(caught.value, StartError)
    assert text in str(caught.value)


@pytest.mark.parametrize("name", ["model", "fit", "weights", "setting"])
def test_what_is_in_the_files_is_not_read_for_a_run_that_cannot_begin(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A folder's first files are read before it is looked whether reading all of them is worth while."""
    read: list[str] = []
    original = digests._digest
    monkeypatch.setattr(digests, "_AT_ONCE", 2)
    monkeypatch.setattr(digests, "_digest", lambda path, file: read.append(path) or original(path, file))
    more, _, text = WRONG[name]
    arguments: dict[str, Any] = {"model": "test_resnet", "data": pictures, "settings": SMALL} | more
    with pytest.raises(HmhsaInsertError, match=text):
        plan_run(arguments.pop("model"), arguments.pop("data"), **arguments)
    assert len(read) == 2
    plan_run("test_resnet", pictures, settings=SMALL)
    assert len(read) == 12


def test_settings_that_cannot_be_read_may_say_which_folders_are_read(pictures: Path, tmp_path: Path) -> None:
    """Then nothing is said of the data: it could be wrong."""
    (tmp_path / "empty").mkdir()
    for overrides, said in ((["epochz=1"], True), (["epochz=1", "loader.train=x"], False)):
        with pytest.raises(HmhsaInsertError) as caught:
            plan_run("test_resnet", tmp_path / "empty", overrides=overrides, settings="digits")
        assert isinstance(caught.value, StartError) == said


def test_the_command_lists_all_of_them(pictures: Path, tmp_path: Path) -> None:
    result = _run(
        *("train", "test_resnett", "--data", "nowhere", "--set", "epochz=1", "--set", "batch_sice=3"),
        *("--recipe", "stag3", "--detector", "retinanet", "-o", tmp_path / "run"),
    )
    assert result.exit_code == 1
    assert "error: the training cannot be started (6 problems)" in result.stderr
    for text in ("test_resnett", "nowhere", "epochz", "batch_sice", "stag3", "detector"):
        assert text in result.stderr
    assert not (tmp_path / "run").exists()


def test_problems_of_one_kind_keep_it() -> None:
    found = Problems()
    found.raise_any()
    for message in ("one", "two", "one"):
        with found.part():
            raise WeightsError(Problem("x", message))
    with pytest.raises(WeightsError) as caught:
        found.raise_any()
    assert [problem.message for problem in caught.value.problems] == ["one", "two"]

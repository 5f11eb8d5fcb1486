"""Training settings: the shipped files, every problem at once with its place, options that win."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hmhsa_insert.detection.schema import DetectSettings
from hmhsa_insert.recipe.explain import explain
from hmhsa_insert.segmentation.schema import SemanticSettings
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.run_identity import identity
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.schema import ClassifySettings
from hmhsa_insert.training.settings import load_settings, shipped_settings

CLASSIFICATION = ("digits", "finetune", "imagenet_100e", "imagenet_300e")
DETECTION = ("coco_1x", "shapes")
SEMANTIC = ("ade20k", "shapes_semantic")

LEAST: dict[str, Any] = {"epochs": 3, "batch_size": 12}


def _problems(source: Any, *overrides: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(source, overrides)
    return [str(problem) for problem in caught.value.problems]


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return path


def test_the_authors_settings() -> None:
    for name, epochs in (("imagenet_300e", 300), ("imagenet_100e", 100)):
        s = load_settings(name)
        assert (s.epochs, s.batch_size, s.lr, s.input_size) == (epochs, 1024, 1e-3, 224)
        assert (s.optimizer.name, s.optimizer.betas, s.optimizer.weight_decay) == (
            "adamw",
            (0.9, 0.999),
            0.05,
        )
        assert (s.augment.mixup, s.augment.cutmix, s.augment.erasing) == (0.8, 1.0, 0.25)
        assert (s.loss.label_smoothing, s.schedule.name) == (0.1, "cosine")
        assert s.augment.auto_augment == "rand-m9-mstd0.5-inc1"
        assert s.regularize.drop_path > 0


def kind_of(name: str) -> type[RunSettings]:
    """Return the settings of the task that a shipped file is of."""
    tasks = {DetectSettings: DETECTION, SemanticSettings: SEMANTIC}
    return next((kind for kind, names in tasks.items() if name in names), ClassifySettings)


def test_every_shipped_file_begins_with_its_intent_and_names_its_values() -> None:
    assert set(shipped_settings()) == {*CLASSIFICATION, *DETECTION, *SEMANTIC}
    for path in shipped_settings().values():
        assert path.read_text().startswith("# ")
        kind = kind_of(path.stem)
        whole, bare, named = (
            load_settings(each, kind=kind) for each in (path, path.stem, f"{path.stem}.yaml")
        )
        assert whole == bare == named


def test_settings_read_back_from_what_they_write() -> None:
    for name in shipped_settings():
        kind = kind_of(name)
        made = load_settings(name, kind=kind)
        assert load_settings(made.model_dump(mode="json"), kind=kind) == made


def test_the_learning_rate_follows_the_batch() -> None:
    assert load_settings("imagenet_300e", ["batch_size=256"]).lr == pytest.approx(2.5e-4)
    assert load_settings("digits", ["batch_size=256"]).lr == 2e-3


def test_options_win_over_the_file_and_make_sections() -> None:
    made = load_settings(LEAST, ["optimizer.lr=2e-3", "epochs=7", "ema.decay=0.5", "augment.scale=[0.5, 1]"])
    assert (made.optimizer.lr, made.epochs, made.augment.scale) == (2e-3, 7, (0.5, 1.0))
    assert made.ema is not None
    assert made.ema.decay == 0.5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("epochs: 0\nbatch_size: 8\n", "1:9: 'epochs' must be greater than 0, found 0"),
        ("epochs: 2\nbatch_size: 8\nepochs: 3\n", "3:1: the key 'epochs' is given twice, on lines 1 and 3"),
        ("epochs: 2\nbatch_size: eight\n", "2:13: 'batch_size' must be an integer, found 'eight'"),
        (
            "epochs: 2\nbatch_size: 8\noptimiser: {lr: 1}\n",
            "3:1: unknown key 'optimiser' in the settings (did you",
        ),
        (
            "epochs: 2\nbatch_size: 8\noptimizer:\n  lr: -1e-3\n",
            "4:7: 'lr' must be greater than 0, found -0.001",
        ),
        (
            "epochs: 2\nbatch_size: 8\nschedule: {name: cosin}\n",
            "3:18: 'name' must be 'cosine', 'poly', 'step', 'multistep' or 'constant', found 'cosin' "
            "(did you mean 'cosine'?)",
        ),
        (
            "epochs: 2\nbatch_size: 8\nema: 3\n",
            "3:6: 'ema' must be a mapping, found 3 (allowed: decay, warmup)",
        ),
        (
            "epochs: 2\nbatch_size: 8\naugment: {scale: [0.5]}\n",
            "3:18: 'scale' must have more numbers, found [0.5]",
        ),
        (
            "epochs: 2\nbatch_size: 8\naugment: {scale: [1.0, 0.5]}\n",
            "'scale' must be two shares of the area",
        ),
        (
            "epochs: 2\nbatch_size: 8\naugment: {crop_pct: 1.0e-9}\n",
            "3:21: 'crop_pct' must be 0.1 or more, found 1e-09",
        ),
        (
            "epochs: 2\nbatch_size: 8\ninput_size: 4096\naugment: {crop_pct: 0.25}\n",
            "4:21: images would be resized to 16,384 pixels for it, and 8,192 are the most",
        ),
        (
            "epochs: 2\nbatch_size: 8\nloader: {workers: 100000}\n",
            "3:19: 'workers' must be at most 1024, found 100000",
        ),
        ("epochs: 2\nbatch_size: 8\naccumulate: 3\n", "3:13: 3 batches do not divide batch_size 8"),
        (
            "epochs: 2\nbatch_size: 8\nschedule: {warmup_epochs: 5}\n",
            "3:27: 5 epochs of warm-up leave none of 2 for the rest",
        ),
        ("epochs: 2\nbatch_size: 8\nschedule: {name: multistep}\n", "need each other"),
        ("epochs: 2\nbatch_size: 8\nschedule: {milestones: [1]}\n", "need each other"),
        (
            "epochs: 2\nbatch_size: 8\nschedule: {name: multistep, milestones: [1, 2]}\n",
            "not all come before the end, 2 epochs",
        ),
        ("epochs: 2\nbatch_size: 8\nfinetune: {freeze_base_epochs: 3}\n", "more than the 2 epochs there are"),
        ("epochs: 2\nbatch_size: 8\ncompute: {precision: false}\n", "'no', 'bf16' or 'fp16', found false"),
        ("epochs: 2\nbatch_size: 8\noptimizer: {betas: [0.9, 0.99]\n", "4:1: "),
        ("epochs: 2\n", "1:1: the settings have no 'batch_size'"),
        ("[1, 2]\n", "settings are a mapping with 'epochs' and more"),
        (
            "epochs: !!python/object:os.system 2\nbatch_size: 8\n",
            "the tag !!python/object:os.system is not allowed",
        ),
        ("", "the file is empty"),
    ],
)
def test_problems_of_a_file_have_their_place(tmp_path: Path, text: str, problem: str) -> None:
    path = _file(tmp_path, text)
    found = _problems(path)
    assert any(problem in each for each in found), found
    assert all(each.startswith(str(path)) for each in found)


def test_all_problems_come_together_in_file_order(tmp_path: Path) -> None:
    path = _file(
        tmp_path, "epochs: 0\nbatch_size: 8\noptimizer:\n  lr: 0\n  nam: sgd\nloss: {label_smoothing: 2}\n"
    )
    found = _problems(path, "augment.mixup=-1")
    places = ["1:9", "4:7", "5:3", "6:25"]
    assert [each.split(": ")[0] for each in found] == [
        *(f"{path}:{place}" for place in places),
        "overrides augment.mixup",
    ]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("digts", "no such file, and no shipped settings of that name (did you mean 'digits'? shipped:"),
        (".", "this is a folder, not a settings file"),
        (
            {**LEAST, "epoch": 3},
            "settings.epoch: unknown key 'epoch' in the settings (did you mean 'epochs'?",
        ),
    ],
)
def test_settings_that_are_not_there(source: Any, problem: str) -> None:
    assert any(problem in each for each in _problems(source))


@pytest.mark.parametrize("text", ["epochs", "=3", "a..b=3"])
def test_an_option_that_is_no_setting(text: str) -> None:
    assert _problems(LEAST, text) == [
        f"overrides {text}: is not a setting (write key=value, such as optimizer.lr=2e-3)"
    ]


def test_where_and_how_fast_is_not_what() -> None:
    """Workers, trackers and checkpoints may change when a run goes on; nothing else may."""

    def key(*overrides: str) -> dict[str, Any]:
        return identity({"settings": load_settings(LEAST, overrides).model_dump(mode="json")})

    assert key() == key(
        "loader.workers=3", "checkpoint_steps=5", "checkpoint_minutes=0.5", "trackers=[tensorboard, wandb]"
    )
    for each in (
        "loader.corrupt=error",
        "epochs=4",
        "compute.precision=bf16",
        "augment.hflip=0.5",
        "ema.decay=0.9",
    ):
        assert key() != key(each)


@pytest.mark.parametrize("value", [None, 3, [1], "x"])
def test_what_is_no_mapping_at_all_is_said(value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        ClassifySettings.model_validate(value)
    (found,) = explain(caught.value, ClassifySettings, "the settings")
    assert found.path == ()
    assert found.message.startswith("the settings must be a mapping, found ")


@pytest.mark.parametrize("key", ["[key]", "[word]", "[list]"])
def test_a_key_that_is_called_like_a_part_of_a_path_of_pydantic_is_named(key: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"unknown key '{key}' in the settings")):
        load_settings({"epochs": 1, "batch_size": 1, key: 2})


def test_an_unknown_section_is_of_the_option_or_of_the_file_that_has_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("version: 1\nepochs: 1\nbatch_size: 4\nlos: {smoothing: 0.1}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as found:
        load_settings(file, ["optimiser.momentum=1", "los.smoothing=0"])
    places = {problem.message.split("'")[1]: str(problem.where) for problem in found.value.problems}
    assert places == {"los": f"{file}:4:1", "optimiser": "overrides optimiser.momentum"}

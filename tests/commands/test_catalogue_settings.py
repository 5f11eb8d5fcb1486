"""`settings` lists every key with its default, and `recipes NAME` prints the file."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command_line import output, run

import hmhsa_insert as hi
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.settings import load_settings
from hmhsa_insert.training.settings_keys import settings_keys

ROOT = Path(__file__).parents[2]


def refused(line: str) -> str:
    result = run(line)
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr


@pytest.mark.parametrize("task", ["classify", "detect", "segment"])
def test_every_key_has_its_meaning_and_its_default(task: str) -> None:
    from hmhsa_insert.tasks.table import task_class

    kind = task_class(task).settings_type
    keys = settings_keys(kind)
    assert all(each.meaning and each.meaning[-1] in ".…)" for each in keys)
    assert len({each.key for each in keys}) == len(keys)
    written: dict[str, object] = {"epochs": 100, "batch_size": 8}
    for key, default, _ in keys:
        if key in written or key.startswith("ema."):
            assert key.startswith("ema.") or default == "required"
            continue
        section, _, name = key.rpartition(".")
        place = written if not section else written.setdefault(section, {})
        place[name or key] = yaml.safe_load(default)
    written["augment"] = {key: value for key, value in written["augment"].items() if key != "ratio"}
    assert load_settings(written, kind=kind) == load_settings({"epochs": 100, "batch_size": 8}, kind=kind)


def test_settings_are_shown() -> None:
    said = output("settings")
    assert "optimizer.lr " in said
    assert "shipped files: ade20k, coco_1x, digits, finetune" in " ".join(said.split())
    assert "detector.min_size" in output("settings detector --task detect")
    assert run("settings digits").stdout == (ROOT / "recipes/training/digits.yaml").read_text()
    assert re.findall(r"^\w+\.\w+", output("settings name"), re.MULTILINE) == [
        *("optimizer.name", "schedule.name", "loss.name")
    ]
    said = refused("settings optimiser")
    assert "there is no key, section or shipped file of this name" in said
    assert "did you mean 'optimizer'" in said


def test_a_recipe_is_printed_as_it_is(tmp_path: Path) -> None:
    printed = tmp_path / "mine.yaml"
    printed.write_text(run("recipes stage3").stdout)
    assert load_recipe(printed) == load_recipe("stage3.yaml")
    assert "did you mean 'stage3'" in refused("recipes stage5")


def test_a_key_is_found_without_its_section() -> None:
    settings = load_settings({"epochs": 1, "batch_size": 1}, ["lr=0.5", "mixup=0.2", "workers=3", "epochs=2"])
    assert (settings.optimizer.lr, settings.augment.mixup) == (0.5, 0.2)
    assert (settings.loader.workers, settings.epochs) == (3, 2)
    with pytest.raises(SettingsError) as error:
        load_settings({"epochs": 1, "batch_size": 1}, ["name=sgd"])
    assert str(error.value) == (
        "overrides name=sgd: 'name' is a key of several sections "
        "(write optimizer.name=… or schedule.name=… or loss.name=…)"
    )
    with pytest.raises(SettingsError, match="lrr"):
        load_settings({"epochs": 1, "batch_size": 1}, ["lrr=0.5"])


def test_the_package_is_a_command_and_has_a_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hmhsa_insert", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"hmhsa-insert {hi.__version__}\n"

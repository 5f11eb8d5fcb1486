"""No file names code that runs: every command on every kind of file, with a module that leaves a mark."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command_line import recipe, run
from PIL import Image
from safetensors.torch import save_file

import hmhsa_insert as hi

CASES = Path(__file__).parents[1] / "files" / "cases"
REFUSED = "it names code to import and run, 'evil:factory', and no file may do that by itself"
TIP = "if you trust it: --allow-code"

SETTINGS = "{epochs: 1, batch_size: 480, input_size: 32, augment: {crop_pct: 1.0}, compute: {device: cpu}}"
STUDY = f"""version: 1
models: "evil:factory"
data: digits
seeds: 1
settings: {{s: {SETTINGS}}}
variants: {{plain: }}
"""
RUN = f"""model: evil:factory
recipe: null
data: {{source: digits, fingerprint: '', train: 1437, val: 360, classes: 10, channels: 1}}
seed: 0
init_from: null
pretrained: false
settings: {SETTINGS}
"""
DETECTOR_RUN = """task: detect
detector: retinanet
model: evil:factory
recipe: null
data: {source: coco, fingerprint: '', train: 2, val: 1, classes: 3, channels: 3}
seed: 0
init_from: null
pretrained: false
settings: {epochs: 1, batch_size: 2}
"""
DETECTOR = {
    "format": 1,
    "kind": "retinanet",
    "num_classes": 4,
    "categories": [],
    "input_size": [3, 64, 64],
    "options": {"min_size": 64, "max_size": 64},
    "training": False,
    "channels_last": False,
    "base": {"source": "evil:factory", "kwargs": {}, "class": "Evil", "aliases": {}, "versions": {}},
    "plans": [],
}
PROFILE = {"kind": "plan", "name": "evil:factory", "group": "evil:factory", "model": "evil:factory"}


def _weights(folder: Path) -> None:
    for name in ("model", "best", "last"):
        save_file({"x": torch.zeros(10)}, folder / f"{name}.safetensors")


def _folder(name: str, file: str, text: str) -> None:
    Path(name).mkdir()
    (Path(name) / file).write_text(text)
    _weights(Path(name))


@pytest.fixture
def strangers(here: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder with a file of every kind that names evil:factory, which lies there."""
    torch.set_num_threads(1)
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    shutil.copy(CASES / "evil.py", here)
    shutil.copytree(made / "mine", "artifact")
    base = Path("artifact/base.json")
    base.write_text(json.dumps(json.loads(base.read_text()) | {"source": "evil:factory"}))
    _folder("run", "config.yaml", RUN)
    _folder("detector-run", "config.yaml", DETECTOR_RUN)
    _folder("detector", "detector.json", json.dumps(DETECTOR))
    _folder("run-of-artifact", "config.yaml", RUN.replace("evil:factory", "artifact"))
    shutil.copytree("artifact", "run-of-library/artifact")
    _weights(Path("run-of-library"))
    Path("run-of-library/config.yaml").write_text(RUN.replace("evil:factory", "timm/test_resnet"))
    shutil.copytree("detector", "run-of-detector/artifact")
    Path("run-of-detector/config.yaml").write_text(DETECTOR_RUN.replace("evil:factory", "timm/test_resnet"))
    Path("study.yaml").write_text(STUDY)
    Path("study-of-artifact.yaml").write_text(STUDY.replace("evil:factory", "artifact"))
    shutil.copy(CASES / "study-evil.yaml", "case.yaml")
    Path("networks.txt").write_text("evil:factory 1x32x32\n")
    Path("recipe.yaml").write_text(recipe(block="{type: 'evil:factory'}"))
    Path("settings.yaml").write_text(
        "epochs: 1\nbatch_size: 8\ntrackers: [evil]\noptimizer: {name: 'evil:factory'}\n"
    )
    Path("profile.json").write_text(json.dumps(PROFILE))
    Image.new("RGB", (64, 64)).save("image.png")
    return here


KINDS = [
    *("artifact", "run", "run-of-artifact", "run-of-library", "detector-run", "detector", "run-of-detector"),
    *(
        "study.yaml",
        "study-of-artifact.yaml",
        "case.yaml",
        "networks.txt",
        "recipe.yaml",
        "settings.yaml",
        "profile.json",
    ),
]
# Every command that reads files; FILE stands for each of them.
COMMANDS = [
    "stages FILE",
    "plan FILE -r good.yaml",
    "plan test_resnet -r FILE",
    "apply FILE -r good.yaml",
    "apply test_resnet -r FILE",
    "apply test_resnet -r good.yaml --weights FILE",
    "show FILE",
    "train FILE --data digits --config digits -o new",
    "train test_resnet --data digits --config FILE -o new",
    "train test_resnet --data digits -r FILE -o new",
    "train test_resnet --data FILE -o new",
    "train test_resnet --task detect --data FILE -o new",
    "train test_resnet --data digits --weights FILE -o new",
    "evaluate FILE",
    "evaluate FILE --data digits",
    "detect FILE image.png -o new",
    "segment FILE image.png -o new",
    "train test_resnet --task semantic --data FILE -o new",
    "ablate FILE --dry-run",
    "ablate FILE -o new",
    "ablate case.yaml -o FILE",
    "profile FILE",
    "profile test_resnet -r FILE",
    "profile FILE --detector retinanet",
    "report FILE",
    "suggest FILE",
    "recipe check FILE",
    "zoo --networks FILE",
    "zoo --networks FILE --list",
]


def marks() -> list[str]:
    return [name for name in ("IMPORTED", "CALLED") if Path(name).exists()]


@pytest.mark.parametrize("line", COMMANDS)
def test_nothing_that_a_file_names_is_imported(strangers: Path, line: str) -> None:
    for kind in KINDS:
        result = run(line.replace("FILE", kind))
        assert marks() == [], kind
        assert "evil" not in sys.modules, kind
        assert result.exception is None or isinstance(result.exception, SystemExit), (kind, result.exception)
        assert "Traceback" not in result.output, kind
        shutil.rmtree("new", ignore_errors=True)


# What refuses, and where in the file the name is.
REFUSALS = {
    "stages artifact": "artifact/base.json",
    "plan artifact -r good.yaml": "artifact/base.json",
    "apply artifact -r good.yaml": "artifact/base.json",
    "profile artifact": "artifact/base.json",
    "suggest artifact": "artifact/base.json",
    "train artifact --data digits -o new": "artifact/base.json",
    "evaluate artifact --data digits": "artifact/base.json",
    "evaluate run": "run/config.yaml",
    "evaluate run-of-artifact": "artifact/base.json",
    "evaluate run-of-library": "run-of-library/artifact/base.json",
    "evaluate detector-run": "detector-run/config.yaml",
    "detect detector image.png -o new": "detector/detector.json",
    "detect run-of-detector image.png -o new": "run-of-detector/artifact/detector.json",
    "profile detector": "detector/detector.json",
    "ablate study.yaml --dry-run": "study.yaml:2:9",
    "ablate case.yaml --dry-run": "case.yaml:2:9",
    "ablate study-of-artifact.yaml --dry-run": "artifact/base.json",
    "zoo --networks networks.txt": "networks.txt:1",
}


@pytest.mark.parametrize("line", REFUSALS)
def test_the_refusal_names_the_code_and_the_flag(strangers: Path, line: str) -> None:
    result = run(line)
    assert result.exit_code == 1
    assert f"{REFUSALS[line]}: {REFUSED}" in result.stderr
    assert TIP in result.stderr
    assert marks() == []


# A detector's run opens its data before it is built, and the coverage run builds in processes of its own.
TRUSTED = [line for line in REFUSALS if line.split()[0] != "zoo" and "detector-run" not in line]


@pytest.mark.parametrize("line", TRUSTED)
def test_a_user_who_trusts_the_file_has_it_run(strangers: Path, line: str) -> None:
    """What comes of it is the factory's matter: here it builds another network than the files were made for."""
    result = run(f"{line} --allow-code")
    assert marks() == ["IMPORTED", "CALLED"], result.output


def test_what_the_user_types_needs_no_leave(strangers: Path) -> None:
    assert run("stages evil:factory --input-size 1x32x32").exit_code == 0
    assert marks() == ["IMPORTED", "CALLED"]


def test_the_same_factory_given_as_base_is_typed(strangers: Path) -> None:
    base = Path("artifact/base.json")
    base.write_text(base.read_text().replace("evil:factory", "usernet:small"))
    assert run("stages artifact --base usernet:small").exit_code == 0
    assert run("stages artifact --allow-code").exit_code == 0
    assert run("stages artifact").exit_code == 1


PYTHON: dict[str, Callable[[], object]] = {
    "load": lambda: hi.load("artifact"),
    "load a detector": lambda: hi.load("detector"),
    "detector": lambda: hi.detector("retinanet", "artifact"),
    "evaluate a run": lambda: hi.evaluate("run"),
    "evaluate an artifact": lambda: hi.evaluate("artifact", "digits"),
    "train": lambda: hi.train("artifact", "digits", folder="new"),
    "ablate": lambda: hi.ablate("study.yaml", "new"),
}


@pytest.mark.parametrize("call", PYTHON)
def test_the_same_in_python(strangers: Path, call: str) -> None:
    with pytest.raises(hi.HmhsaInsertError, match=r"evil:factory.*allow_code=True"):
        PYTHON[call]()
    assert marks() == []


def test_a_study_of_a_stranger_is_not_gone_on_with_in_his_words(strangers: Path) -> None:
    """A trial's folder may spell its network otherwise, and then that is a file's word too."""
    Path("fair.yaml").write_text(STUDY.replace("evil:factory", "test_resnet"))
    from hmhsa_insert.studies.plan_study import plan_study
    from hmhsa_insert.studies.study_file import load_study

    (trial,) = plan_study(load_study("fair.yaml")).trials
    folder = Path("theirs/trials") / trial.id
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(RUN)
    assert (
        run("ablate fair.yaml -o theirs").exit_code == 1
        or "names code" in run("ablate fair.yaml -o theirs").output
    )
    assert marks() == []

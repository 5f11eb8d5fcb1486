"""What a file or an option asks for is compared with what there is before any of it is spent."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import error_of, output

from hmhsa_insert.costs import peak

FILES = Path(__file__).parents[1] / "files" / "cases"
LIMIT_MB, LIMIT_S = 500, 5

Change = Callable[[dict[str, Any]], None]


def site(plan: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = plan["plans"][0]["plan"]["sites"][0]
    return found


def widen(plan: dict[str, Any], channels: int) -> None:
    site(plan)["inp"].update(channels=channels)
    site(plan).update(out_channels=channels)


# The file of an artifact, what a stranger wrote into it, and what is said.
SHAPES: dict[str, tuple[str, Change, str]] = {
    "channels": ("plan.json", lambda d: widen(d, 30_000), "tensors do not fit the network"),
    "channels of one side": (
        "plan.json",
        lambda d: site(d)["inp"].update(channels=30_000),
        "hmhsa keeps the channels: it cannot turn 30000 into 192",
    ),
    "classes": (
        "base.json",
        lambda d: d["kwargs"].update(num_classes=8_000_000),
        "asks for num_classes 8000000",
    ),
    "few classes": ("base.json", lambda d: d["kwargs"].update(num_classes=7), "'fc.weight' is"),
    "colors": ("base.json", lambda d: d["kwargs"].update(in_chans=3_000_000), "asks for in_chans 3000000"),
    "two colors": ("base.json", lambda d: d["kwargs"].update(in_chans=2), "tensors do not fit the network"),
    "a list as alias": (
        "base.json",
        lambda d: d.update(aliases={"a": ["x"]}),
        "'aliases.a' must be text, found ['x']",
    ),
    "nothing as alias": (
        "base.json",
        lambda d: d.update(aliases={"a": []}),
        "'aliases.a' must be text, found []",
    ),
    "a number as alias": (
        "base.json",
        lambda d: d.update(aliases={"a": 1}),
        "'aliases.a' must be text, found 1",
    ),
    "an alias of nothing": (
        "base.json",
        lambda d: d.update(aliases={"a": {"b": {}}}),
        "'aliases.a' must be text, found {'b': {}}",
    ),
    "aliases in a list": (
        "base.json",
        lambda d: d.update(aliases=["a"]),
        "'aliases' must be a mapping, found ['a']",
    ),
    "an alias of a tensor that is there": (
        "base.json",
        lambda d: d.update(aliases={"conv1.0.weight": "bn1.weight"}),
        "it holds 'conv1.0.weight', which is listed as tied",
    ),
    "half a character": ("base.json", lambda d: d.update({"class": "\ud800"}), "is half a character"),
}


@pytest.mark.parametrize("what", SHAPES)
def test_an_artifact_that_asks_for_what_its_weights_do_not_have(artifacts: Path, what: str) -> None:
    file, change, said = SHAPES[what]
    path = artifacts / "library" / file
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    assert said in error_of("stages library")
    assert time.process_time() - began < LIMIT_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < LIMIT_MB * 1024


def _spent(line: str, folder: Path) -> tuple[int, str, float, int]:
    """Run a command in a process of its own; return exit code, stderr, CPU seconds and MB beyond an import's."""
    program = (
        "import resource, sys, time; from hmhsa_insert.commands import app\n"
        "import hmhsa_insert.tasks.detect, hmhsa_insert.studies.ablate, hmhsa_insert.reports.render\n"
        "import hmhsa_insert.studies.study_file\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before, began, code = used(), time.process_time(), 0\n"
        "try: app(sys.argv[1:], standalone_mode=False)\n"
        "except SystemExit as end: code = end.code\n"
        "print(code, time.process_time() - began, (used() - before) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *line.split()], cwd=folder, capture_output=True, text=True, check=True
    )
    code, seconds, megabytes = done.stdout.split()[-3:]
    return int(code), done.stderr, float(seconds), int(megabytes)


FLOODS = {
    "report run": "run/config.yaml:5:1: the file holds more than 50,000 values, its aliases followed",
    "evaluate run": "run/config.yaml:5:1: the file holds more than 50,000 values, its aliases followed",
    "ablate study-axes-bomb.yaml --dry-run": "12:5: the axes of 'x' make 1,000,000,000 variants",
    "ablate study-not-utf8.yaml": "study-not-utf8.yaml:1:1: byte 0xff is not UTF-8 text",
}


_LONG = ("report run", "ablate study-not-utf8.yaml")


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=pytest.mark.long) if line in _LONG else line for line in FLOODS]
)
def test_a_bomb_is_one_line(tmp_path: Path, line: str) -> None:
    for path in FILES.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    (tmp_path / "run").mkdir()
    shutil.copy(FILES / "run-config-alias-bomb.yaml", tmp_path / "run/config.yaml")
    (tmp_path / "run/result.json").write_text("{}")
    code, stderr, seconds, megabytes = _spent(line, tmp_path)
    assert code == 1
    assert FLOODS[line] in stderr
    assert "Traceback" not in stderr
    assert (seconds < LIMIT_S, megabytes < LIMIT_MB) == (True, True), (seconds, megabytes)


CONFIGS = {
    "[" * 100_000: ":1:66: values are nested more than 64 deep",
    "a: 2024-13-45": ": it is damaged: 'model' is missing",
    "a: " + "9" * 5000: "has too many digits",
    "": ": it is damaged: 'it' must be a mapping, found None",
    "a: \ufffe": ":1:4: the character U+FFFE is not allowed in YAML",
}


@pytest.mark.parametrize("text", CONFIGS, ids=range(len(CONFIGS)))
def test_the_configuration_of_a_run(here: Path, text: str) -> None:
    Path("run").mkdir()
    Path("run/config.yaml").write_text(text, encoding="utf-8")
    for line in ("evaluate run", "train test_resnet --data digits -o run"):
        assert CONFIGS[text] in error_of(line)


def test_a_plan_at_any_size_is_seconds(here: Path) -> None:
    began = time.process_time()
    assert "3×16384×16384" in output("plan resnet18 --recipe stage3.yaml --input-size 16384")
    assert time.process_time() - began < 30  # 4 on an idle core; cell by cell it was minutes


def test_memory_is_said_before_it_is_taken(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "verifying two samples of 3×4096×4096 takes about "
    monkeypatch.setattr(peak, "free_memory", lambda: 3 << 30)
    report = error_of("apply test_resnet -r good.yaml --input-size 4096 -o big")
    assert f"--input-size: {said}" in report
    assert "of memory, and 3.0 GiB are free" in report
    assert "--yes to go on" in report
    assert not Path("big").exists()


def test_a_user_goes_on_with_yes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "free_memory", lambda: 0)
    monkeypatch.setattr(peak, "WORTH_SAYING", 0)
    assert "0.0 GiB are free" in error_of("apply test_resnet -r good.yaml --input-size 64 -o small")
    assert "verifying two samples of 3×64×64 takes about 0.0 GiB" in output(
        "apply test_resnet -r good.yaml --input-size 64 -o small --yes"
    )

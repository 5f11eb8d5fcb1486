"""A stranger's names in every field of every file, on every output: shown, and never carried out."""

from __future__ import annotations

import csv
import io
import json
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from command_line import recipe
from hostile import CHECKS, HOSTILE, live
from typer.testing import CliRunner

from hmhsa_insert.commands import app

FORMATS = tuple(CHECKS)
ENVIRONMENT = ("cpu", "device", "dtype")
STEP = {"latency_ms": 3.0, "images_per_s": 300.0, "time_ratio": 1.0, "batch": 1}
COUNTS = {"num_params": 10**6, "macs": 10**9, "macs_modules_only": 10**9, "activations": 10**6}


def run(line: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, shlex.split(line))


def checked(line: str, how: str) -> str:
    """Return what a command prints after having looked for anything live in it; refusing is as good."""
    result = run(line)
    assert result.exception is None or isinstance(result.exception, SystemExit), (line, result.exc_info)
    assert live(result.output) == [], line
    if result.exit_code == 0:
        assert CHECKS[how](result.stdout) == [], line
    return result.output


def test_the_checks_notice_what_is_live() -> None:
    name = HOSTILE[0]
    assert len(live(name)) > 8
    assert len(CHECKS["md"](name)) > 4
    assert CHECKS["csv"](f"{name}\n") != []
    assert {"input", "write"} <= set(CHECKS["latex"](name))
    assert {"script", "img src", "img onerror"} <= set(CHECKS["html"](f"<script></script>{name}"))
    assert CHECKS["html"](f'<p title="{name}">') != []


def profile(name: str) -> dict[str, Any]:
    versions = {"torch": name, name: name}
    here = dict.fromkeys(ENVIRONMENT, name) | {"threads": 2, "channels_last": True, "compiled": False}
    modules = [{"name": f"{name}.{part}", **COUNTS} for part in "ab"]
    return {
        "kind": "profile", "name": name, "group": f"g{name}", "input_size": [3, 64, 64], **COUNTS,
        "environment": {**here, "versions": versions}, "by_module": modules, "parts": {name: [f"{name}.a"]},
        "memory": {"batch": 2, "saved_bytes_per_image": 9.0, "by_module": {f"{name}.a": 3, name: 4}, "peak": None},
        "inference": {**STEP, "clock": name}, "training": {**STEP, "clock": name}, "conventions": [name],
        "unknown_ops": [name], "crosscheck": {"finding": name}, "device_gib": 16.0, name: name,
    }  # fmt: skip


def training(name: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "training",
        "name": name,
        "group": name,
        "input_size": [3, 64, 64],
        "data": name,
        "top1": 50.0,
    } | more


def records(name: str) -> list[dict[str, Any]]:
    scores = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl"), 0.3)
    larger = profile(name) | {"input_size": [3, 128, 128]}
    return [
        profile(name),
        larger,
        training(name),
        training(f"b{name}", box=scores),
        training(f"m{name}", mask=scores),
    ]


@pytest.mark.parametrize(
    ("how", "name"), [(how, name) for how in FORMATS for name in (HOSTILE if how == "csv" else HOSTILE[:2])]
)
def test_names_in_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    # A lone surrogate is refused where files are read, so the rest of the name is tried without it as well.
    for text in (name, name.replace("\ud800", "")):
        Path("r.json").write_text(json.dumps(records(text)))
        said = checked(f"report r.json --format {how} --parts", how)
    assert "1+1" in said
    Path("r.json").write_text(json.dumps({**profile("x"), "num_params": name}))
    assert "r.json" in checked("report r.json", how)


def study(name: str) -> dict[str, Any]:
    trial = {"id": "0" * 16, "variant": name, "model": name, "recipe": name, "settings": name, "data": name}
    trials = [
        {**trial, "id": f"{place}" * 16, "seed": place, "group": name, "baseline": True} for place in range(2)
    ]
    about = {"name": name, "intent": name, "baseline": name, "variants": [name], "notes": [name]}
    return {"kind": "study", "version": 1, **about, "trials": trials}


@pytest.mark.parametrize("name", HOSTILE[:1])
@pytest.mark.parametrize("how", FORMATS)
def test_names_in_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    text = name.replace("\ud800", "")
    for place in "01":
        Path("s", "trials", place * 16).mkdir(parents=True)
    Path("s/study.json").write_text(json.dumps(study(text)))
    done = {
        "status": "done",
        "message": "",
        "top1": 50.0,
        "device": text,
        "seconds": 3.0,
        "num_params": 1,
        "macs": 9,
    }
    failed = {"status": "failed", "message": text}
    for place, row in (("0", done), ("1", failed)):
        Path(f"s/trials/{place * 16}/trial.json").write_text(json.dumps({"id": place * 16, **row}))
    assert "1+1" in checked(f"report s --format {how}", how)


@pytest.mark.parametrize("name", HOSTILE[2:3])
@pytest.mark.parametrize("how", FORMATS)
def test_names_in_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    text = name.replace("\ud800", "")
    data = {"source": text, "val": 10, "classes": 2, "channels": 3}
    config = {
        "model": text,
        "recipe": {"name": text},
        "data": data,
        "seed": 0,
        "settings": {"input_size": 32},
    }
    Path("r").mkdir()
    Path("r/config.yaml").write_text(json.dumps(config))
    Path("r/result.json").write_text(json.dumps({"top1": 50.0, text: text}))
    assert "1+1" in checked(f"report r --format {how}", how)
    checked("evaluate r", "table")


def strings(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the place of every text in plain data."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    own = [path] if isinstance(value, str) else []
    return own + [place for key, item in items for place in strings(item, (*path, key))]


def test_names_in_artifacts(artifacts: Path) -> None:
    for file in ("plan.json", "base.json", "recipe.yaml"):
        path = Path("library", file)
        whole = path.read_text()
        if file == "recipe.yaml":
            path.write_text(whole.replace("mine", repr(HOSTILE[0])))
            checked("show library", "table")
            continue
        for place in strings(json.loads(whole)):
            data = holder = json.loads(whole)
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = HOSTILE[0].replace("\ud800", "")
            holder[HOSTILE[1].replace("\ud800", "")] = HOSTILE[2] if isinstance(holder, dict) else 0
            path.write_text(json.dumps(data))
            checked("show library", "table")
        path.write_text(whole)


def test_names_in_recipes_and_lists(here: Path) -> None:
    name = json.dumps(HOSTILE[0].replace("\ud800", "").replace("\x7f", ""))
    for text in (
        recipe().replace("name: mine", f"name: {name}"),
        recipe(id=name), recipe(op=name), recipe(at=f"{{module: {name}}}"), recipe(at=f"{{{name}: 3}}"),
        recipe(block=f"{{type: {name}}}"), recipe(block=f"{{type: hmhsa, {name}: {name}}}"),
        f"{name}: {name}\n{recipe()}",
    ):  # fmt: skip
        Path("r.yaml").write_text(text)
        checked("recipe check r.yaml", "table")
        checked("plan test_resnet -r r.yaml --input-size 64", "table")
        checked("plan test_resnet -r r.yaml --input-size 64 --json", "json")
    Path("n.txt").write_text(f"timm/{HOSTILE[0]} 64x64\n".replace("\ud800", "").replace("\nnext", ""))
    checked("zoo --networks n.txt --list", "table")


def test_paths_are_shown_too(here: Path) -> None:
    folder = Path("\x1b[31mred\u202e")
    shutil.copytree("good.yaml", folder) if Path("good.yaml").is_dir() else folder.mkdir()
    shutil.copy("good.yaml", folder / "r.yaml")
    for line in ("recipe check {}/r.yaml", "show {}", "report {}", "evaluate {}", "ablate {}/none.yaml"):
        said = checked(line.format(shlex.quote(str(folder))), "table")
        assert r"\x1b[31mred\u202e" in said


def test_names_of_classes_and_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hmhsa_insert.commands.console import print_json
    from hmhsa_insert.commands.printed import print_table
    from hmhsa_insert.tasks.classify import Classify
    from hmhsa_insert.training.curves import draw_confusion
    from hmhsa_insert.training.evaluation import Evaluation

    numbers, whole = np.array([0, 1]), np.array([True, False])
    classes = (HOSTILE[0], f"$x${HOSTILE[1]}")
    found = Evaluation((), 1.0, numbers, numbers, numbers, whole, np.array([0.5, -0.25]), classes)
    split: Any = SimpleNamespace(name=lambda index: HOSTILE[index])
    found.write_predictions(tmp_path, split)
    text = (tmp_path / "predictions.csv").read_text(encoding="utf-8")
    assert live(text) == []
    assert CHECKS["csv"](text) == []
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["target"], row["correct"], row["in_top5"], row["loss"]) for row in rows] == [
        ("0", "1", "1", "0.5"),
        ("1", "1", "0", "-0.25"),
    ]
    draw_confusion(found.confusion, classes, tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 0
    shares = dict(zip(classes, [50.0, 25.0], strict=True))
    row = {"name": HOSTILE[2], "num_params": 1, "macs": 1, "images": 2, "top1": 1.0, "top5": 1.0, "loss": 0.5}
    rows_shown = [
        {
            **row,
            "images_per_s": 3.0,
            "per_class": shares,
            "precision": shares,
            "damaged": [HOSTILE[3]],
            "unseen": True,
        }
    ]
    for table in Classify.tables(rows_shown, HOSTILE[4]):
        print_table(table)
    assert live(capsys.readouterr().out) == []
    print_json(rows_shown)
    printed = capsys.readouterr().out
    assert live(printed) == []
    assert json.loads(printed)[0]["name"] == HOSTILE[2].replace("\ud800", r"\ud800")


@pytest.mark.parametrize(
    "line", ["plan test_resnet -r {}", "apply test_resnet -r {} -o out", "recipe check {}"]
)
def test_a_recipe_of_escape_codes_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "recipe-escape-codes.yaml"
    shutil.copy(Path(__file__).parents[1] / "files" / "cases" / name, name)
    result = run(line.format(name))
    assert (result.exit_code, live(result.output)) == (1, [])
    assert not {"\x1b", "\a", "\x9b"} & set(result.output)
    for shown in (
        r"'module': '\x1b]0;PWN\x07\x1b[2J'",
        r"unknown key 'k\x1b]0;PWN'",
        r"type '\x1b]0;PWN\x07x'",
    ):
        assert shown in result.output

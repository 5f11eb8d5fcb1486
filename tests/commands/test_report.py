"""``report`` as a user meets it: profiles, runs and published figures in one table."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest
import yaml
from command_line import error_of, output, run

import hmhsa_insert as hi


def write_run(folder: str, recipe: str | None, top1: float | None, seed: int = 0) -> None:
    """Write what a training run keeps, as far as a report reads it."""
    path = Path(folder)
    path.mkdir()
    config = {
        "model": "usernet:small",
        "recipe": {"version": 1, "name": recipe} if recipe else None,
        "data": {"source": "digits", "val": 360},
        "seed": seed,
        "settings": {"input_size": 64},
    }
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    (path / "environment.json").write_text("{}")
    if top1 is not None:
        (path / "result.json").write_text(json.dumps({"num_params": 12345, "top1": top1}))


def test_runs_stand_beside_profiles_and_published_figures(here):
    output("profile usernet:small -r good.yaml --input-size 64 --memory -o p.json")
    write_run("plain", None, 90.0)
    write_run("edited", "mine", 92.5)
    text = output("report p.json plain edited --published")
    assert "HAT-Net-Tiny [2]" in text
    assert "resnet33ts.ra2_in1k [3]" in text
    assert "+2.5" in text
    assert "Top-1 of our runs: on digits, 360 images" in text
    assert "[2] published: authors' repository (v2.0 release)" in text


def test_a_run_of_the_profiled_network_is_its_row(here):
    output("profile usernet:small --input-size 64 -o p.json")
    (record,) = json.loads(Path("p.json").read_text())["records"]
    write_run("plain", None, 90.0)
    result = {"num_params": record["num_params"], "top1": 90.0}
    (here / "plain" / "result.json").write_text(json.dumps(result))
    rows = json.loads(output("report p.json plain --format json"))["rows"]
    assert [(row["method"], row["macs"], row["top1"]) for row in rows] == [("small", record["macs"], 90.0)]


def test_formats_and_columns(here):
    write_run("plain", None, 90.0)
    output("report plain --published --columns method,top1 --title Ours -o t.tex")
    assert r"\caption{Ours}" in Path("t.tex").read_text()
    output("profile usernet:small --input-size 64 -o p.json")
    output("report p.json --published -o t.html")
    page = Path("t.html").read_text()
    assert "Multiply–accumulates by part of the network</figcaption>" in page
    assert page.count("<table>") == 2
    line = output("report plain --columns method,top1 --format md").splitlines()[2]
    assert line == "|small | 90.0|"


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("", ["there is nothing to report"]),
        ("missing.json unfinished", ["missing.json: cannot be read", "this run is not finished"]),
        ("damaged", ["it is damaged"]),
        ("--published --columns methd", ["there is no column 'methd'", "did you mean 'method'"]),
        ("--published -o table.doc", ["its ending names no format"]),
        ("--published -o unfinished", ["this is a folder"]),
        ("--published -o nowhere/t.md", ["there is no folder '", "nowhere'"]),
    ],
)
def test_refusals(here, line, messages):
    write_run("unfinished", None, None)
    write_run("damaged", None, 1.0)
    (here / "damaged" / "config.yaml").write_text("model: 3")
    text = error_of(f"report {line}")
    for message in messages:
        assert message in text


@pytest.mark.parametrize("line", ["report --published -o {}", "evaluate nothing --confusion {}"])
def test_nothing_takes_the_place_of_what_is_no_file(here, line):
    os.mkfifo("pipe.md")
    os.symlink("loop.md", "loop.md")
    for name in ("pipe.md", "loop.md", "/dev/null"):
        result = run(line.format(name))
        assert result.exit_code == 1
        assert f"{name}: this is not a regular file but a pipe, a device or the like" in result.stderr
    assert stat.S_ISFIFO(os.lstat("pipe.md").st_mode)
    assert os.readlink("loop.md") == "loop.md"
    assert sorted(path.name for path in here.iterdir() if path.name.startswith(".")) == []


def test_a_link_stays_and_its_file_is_written(here):
    (here / "elsewhere").mkdir()
    (here / "elsewhere" / "old.md").write_text("old")
    os.symlink("elsewhere/old.md", "table.md")
    os.symlink("elsewhere/new.md", "other.md")
    for name in ("table.md", "other.md"):
        output(f"report --published -o {name} --overwrite")
        assert (here / name).is_symlink()
    written = [(here / "elsewhere" / name).read_text() for name in ("old.md", "new.md")]
    assert written[0] == written[1] == output("report --published --format md")
    assert sorted(path.name for path in (here / "elsewhere").iterdir()) == ["new.md", "old.md"]


def test_a_page_of_runs_draws_their_networks(here):
    write_run("edited", "mine", 92.5)
    write_run("again", "mine", 91.0, seed=1)
    for folder in ("edited", "again"):
        output(f"apply usernet:small -r good.yaml --input-size 64 -o {folder}/artifact")
    said = run("report edited again -o page.html").stderr
    assert "small + mine is not drawn: edited/artifact/base.json: it names code to import and run" in said
    assert "--base MODULE:FACTORY" in said
    assert said.count("is not drawn") == 1
    assert "Drawing of" not in Path("page.html").read_text()
    for how in ("--base usernet:small", "--allow-code"):
        assert output(f"report edited again -o page.html --overwrite {how}") == "wrote page.html\n"
        page = Path("page.html").read_text()
        assert page.count("Drawing of small + mine at 64") == 1  # two seeds are one network
        assert hi.draw(hi.load("edited/artifact", allow_code=True), name="small + mine").svg in page
    output("report edited again -o page.html --overwrite --allow-code --no-drawings")
    assert "Drawing of" not in Path("page.html").read_text()


def test_a_plugin_is_imported_first(here):
    Path("marked.py").write_text("import sys\nsys.modules['seen_by_report'] = sys\n")
    try:
        output("report --published --plugin marked")
        assert "seen_by_report" in sys.modules
        assert "--plugin: module 'nowhere' cannot be imported" in error_of(
            "report --published --plugin nowhere"
        )
    finally:
        sys.modules.pop("seen_by_report", None)
        sys.modules.pop("marked", None)

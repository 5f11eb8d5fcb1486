"""``report`` on a study's folder, as a user meets it."""

import re
import sys
from pathlib import Path

import pytest
from command_line import error_of, output, run

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))
from study_folders import small_study


@pytest.fixture
def study(here):
    return small_study(here / "runs")


def test_tables_are_whole_at_80_columns(study):
    text = output("report runs")
    assert max(map(len, text.splitlines())) <= 80
    assert "…\n" not in text
    for piece in ("Which block pays?", "91.00 ± 1.00", "+1.17", "+0.45 … +1.88", "+20.0%", "1,280"):
        assert piece in text
    assert text.count("hmhsa") >= 3
    # What is folded is named, and shown by files.
    assert "0.250" not in text
    assert "device hours" in text
    assert "0.250" in output("report runs --format md")


def test_files_by_their_ending(study):
    for name, start in (
        ("t.md", "## which"),
        ("t.tex", "% needs"),
        ("t.csv", "group,"),
        ("t.html", "<!DOCTYPE"),
    ):
        assert f"wrote {name}" in output(f"report runs -o {name}")
        assert Path(name).read_text(encoding="utf-8").startswith(start)
    assert run("report runs --format csv").stdout == Path("t.csv").read_text(encoding="utf-8")
    assert "## Mine" in output("report runs --title Mine --format md")


def test_options_of_other_reports_are_refused_all_at_once(study):
    text = error_of("report runs runs --columns macs --parts")
    for piece in ("one study alone", "--columns", "--parts"):
        assert piece in text


def test_what_others_published_stands_below_a_study_on_request(study):
    text = output("report runs --published --format md")
    assert text.index("## what others published") > text.index("verdict")
    assert re.search(r"^\|seresnet33ts\.ra2_in1k \[3\] *\|.*\| *80\.4\| *\+1\.2\|", text, re.MULTILINE)
    assert "what others published" not in output("report runs --format md")


def test_a_damaged_trial_is_named(study):
    path = next(study.glob("trials/*/trial.json"))
    path.write_text("{")
    text = error_of("report runs")
    assert f"trials/{path.parent.name}/trial.json:1:2: it is damaged: expecting property" in text.replace(
        "\n", ""
    )

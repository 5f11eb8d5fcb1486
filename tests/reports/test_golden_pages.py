"""A page of every kind, in a browser at the widths of a desk and a phone: what it shows, and what it may not do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from browser import found_in_browser, needs_browser
from report_records import ALL, SIZES, profile
from study_folders import done, failed, listed, small_study, write_study

from hmhsa_insert.reports.formats import written
from hmhsa_insert.reports.report import opened

RUNS = Path(__file__).parents[1] / "fixtures" / "version_one" / "runs"
MEASURE = (Path(__file__).parent / "measure.js").read_text(encoding="utf-8")
REFUSED = "head_dim 32 does not divide 48 channels"
PARTS = [
    {"name": name, "num_params": 1, "macs": macs, "macs_modules_only": macs, "activations": 1}
    for name, macs in (("stem", 10**8), ("layer1", 10**9), ("layer1.hmhsa", 10**7))
]


def profiles(folder: Path) -> str:
    recipe = {"version": 1, "name": "stage3", "edits": [{"op": "insert", "id": "hmhsa"}]}
    known = {"network": "resnet18", "recipes": [recipe], "by_module": PARTS}
    records = [*ALL[:-8], *SIZES, profile("resnet18 + parts", **known)]
    return written(opened(records, published=True, title="Profiles"), "html")


def classification(folder: Path) -> str:
    return written(opened([RUNS / "plain", RUNS / "attention"], title="Runs"), "html")


def detection(folder: Path) -> str:
    return written(opened([RUNS / "detector"]), "html")


def study(folder: Path) -> str:
    return written(opened([small_study(folder / "study")]), "html")


def refused(folder: Path) -> str:
    trials = [listed(variant, seed) for seed in range(2) for variant in ("plain", "hmhsa", "tdb")]
    rows = [
        failed(each["id"], REFUSED) if each["variant"] == "tdb" else done(each["id"], 90.0 + place)
        for place, each in enumerate(trials)
    ]
    return written(opened([write_study(folder / "study", trials, rows)]), "html")


# Each kind of page, and what stands on it somewhere.
PAGES = {
    profiles: ("profiles: recipe stage3", "hmhsa-insert profile resnet18 --recipe stage3.yaml", "Some CPU"),
    classification: (
        " + attention, seed 1: settings in full",
        "9976dbcced059c8a",
        "nano: per class, lowest recall first",
        "AMD EPYC",
        "--seed 1",
    ),
    detection: ("software and machine", "task: detect", "--detector retinanet"),
    study: ("placebo",),
    refused: (REFUSED,),
}


@pytest.fixture(autouse=True)
def _old_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(RUNS.parents[1])])


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_made_it(page, tmp_path):
    text = page(tmp_path)
    assert [each for each in PAGES[page] if each not in text] == []


@pytest.mark.browser
@needs_browser
@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_in_a_browser(page, width, tmp_path):
    found = found_in_browser(page(tmp_path), MEASURE, tmp_path, width)
    assert found["width"] == width
    assert found["wide"] <= width, "the page is wider than its window"
    assert found["overlaps"] == []
    assert found["unsorted"] == []
    assert found["requests"] == []
    assert (found["broken"], found["images"] > 0) == (0, page is not detection)
    assert found["opened"] == found["closed"]
    assert found["texts"] > 20


@pytest.mark.browser
@needs_browser
def test_the_measure_notices(tmp_path):
    """Texts that cover each other, a page that is too wide, a request and a table that does not sort are noticed."""
    text = """<html><body><h2 style="position: absolute; top: 0">one</h2>
    <h2 style="position: absolute; top: 5px">two</h2>
    <div style="width: 3000px">wide</div><img src="http://127.0.0.1:9/x.png"><table><thead><tr><th class="number"
    aria-sort="none"><button>a</button></th></tr></thead><tbody><tr><td data-value="2">2</td></tr></tbody></table>
    </body></html>"""
    found = found_in_browser(text, MEASURE, tmp_path, 1280)
    assert ["one", "two"] in found["overlaps"]
    assert found["wide"] > 1280
    assert len(found["requests"]) == 1
    assert found["broken"] == 1
    assert found["unsorted"] == ["a", "a"]

"""Drawings on a page: drawn from what a record carries, whoever wrote it."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import found_in_browser, needs_browser
from report_records import profile

from hmhsa_insert.drawing.data import MOST_DRAWN, Box, Column, Contents, Mark, Receptive
from hmhsa_insert.drawing.layout import Layout
from hmhsa_insert.reports.data import to_csv
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.render import RecordsReport, render
from hmhsa_insert.reports.sources import load_records

MARK = Mark("hmhsa", "+ hmhsa", "layer3.1", "layer3.1.hmhsa")
STAGES = tuple(
    Column(
        f"stage {place}",
        2**place,
        "64×40×40",
        place == 6,
        [Box("layer3.0", 3, entry=True), Box("layer3.1", 9, marks=[MARK])],
        0.125,
        Receptive(unknown="no rule"),
        0.0625,
        Receptive(71, None),
    )
    for place in range(8)
)
CONTENTS = Contents("net", "3×160×160", STAGES, (MARK,))
HOSTILE = '</title></text></svg></details><script>document.title="owned"</script><img src=x onerror=alert(1)>\x1b[31m'


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[str] = []
        self.keys: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.all.append(tag)
        self.keys |= {key for key, _ in attrs}


def read(drawing: object) -> list:
    """Return the record of a file with a drawing."""
    return load_records([json.loads(json.dumps(profile("net", drawing=drawing)))])


def page(*drawings: Contents) -> str:
    records = [profile(f"net {place}", drawing=each.as_dict()) for place, each in enumerate(drawings)]
    return render(json.loads(json.dumps(records)), "html", title="Profile")


def test_what_a_record_carries_is_drawn_as_it_was() -> None:
    (record,) = read(CONTENTS.as_dict())
    assert Contents.of(record["drawing"]) == CONTENTS
    assert Contents.of(CONTENTS.as_dict()) == CONTENTS
    assert Layout(CONTENTS).draw() in page(CONTENTS)


def test_one_is_seen_at_once_and_several_at_a_click() -> None:
    assert "<h2>Drawing of net 0 at 224</h2>" in page(CONTENTS)
    several = page(CONTENTS, replace(CONTENTS, name="other"))
    assert "<details>\n<summary>Drawing of net 1 at 224</summary>" in several
    assert several.count("<svg") == page(CONTENTS).count("<svg") + 1


def test_records_without_one_show_none_and_the_rows_stay() -> None:
    plain, drawn = [profile("net")], [profile("net", drawing=CONTENTS.as_dict())]
    assert "<svg" not in render(plain, "html")
    assert "<svg" not in render([profile("net", drawing=None)], "html")
    for how in ("md", "latex", "csv", "json"):
        assert render(plain, how) == render(drawn, how)
    frame = RecordsReport(tuple(drawn), None, "", parts=False, sections=False).frame()
    assert "drawing" not in to_csv(frame)


def hostile() -> Contents:
    mark = Mark(*[HOSTILE] * 4)
    box = Box(HOSTILE, 1, marks=[mark])
    column = Column(HOSTILE, 2, HOSTILE, boxes=[box], share=0.5, sees=Receptive(unknown=HOSTILE))
    return Contents(HOSTILE, HOSTILE, (column,), (mark,))


def test_texts_of_a_stranger_are_texts() -> None:
    (record,) = read(hostile().as_dict())
    text = render([record], "html", title="Profile")
    tags = Tags(text)
    assert (tags.all.count("script"), tags.all.count("img")) == (1, Tags(page(CONTENTS)).all.count("img"))
    assert not [key for key in tags.keys if key.startswith("on") or key in ("href", "xlink:href")]
    assert "\x1b" not in text
    assert "&lt;script&gt;document.title" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(name="x" * 1001), "'drawing.name' must be text of at most 1000 characters"),
        (lambda d: d.update(columns=[]), "'drawing.columns' must be"),
        (lambda d: d.update(columns=d["columns"] * 30), "'drawing.columns' must be"),
        (lambda d: d["columns"][0].update(share=1.5), "'drawing.columns.0.share' must be at most 1"),
        (lambda d: d["columns"][0].update(share=float("nan")), "'drawing.columns.0.share' must be"),
        (lambda d: d["columns"][0].update(stride=-1), "'drawing.columns.0.stride' must be 0 or more"),
        (lambda d: d["columns"][0].update(boxes=[{"name": 3, "end": 0}]), "must be text"),
        (
            lambda d: d["columns"][0]["sees"].update(rows=-1),
            "'drawing.columns.0.sees.rows' must be 0 or more",
        ),
        (lambda d: d.update(marks=[]), "a block of the drawing has an edit that is not among its edits"),
        (lambda d: d.update(marks=d["marks"] * MOST_DRAWN), f"at most {MOST_DRAWN} blocks and edits"),
        (lambda d: d.pop("inputs"), "'drawing.inputs' is missing"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_its_key(change, said) -> None:
    drawing = json.loads(json.dumps(CONTENTS.as_dict()))
    change(drawing)
    with pytest.raises(ReportError) as error:
        read(drawing)
    assert said in str(error.value)


def test_the_largest_that_is_read_is_drawn() -> None:
    count = MOST_DRAWN // 3
    marks = [Mark(f"{place} long".ljust(60), "+ se", "layer", "key") for place in range(count)]
    boxes = [Box("é" * 1000, 0, marks=[mark]) for mark in marks]
    (record,) = read(Contents("net", "", (Column("all", boxes=boxes),), tuple(marks)).as_dict())
    drawn = Layout(Contents.of(record["drawing"])).draw()
    assert drawn.count('<rect class="hi-edit"') == 2 * count


MEASURE = """
for (const each of document.querySelectorAll("summary")) each.click();
const svg = [...document.querySelectorAll(".wide > svg")];
found = {
  wide: document.documentElement.scrollWidth,
  boxes: svg.map((each) => each.parentElement.clientWidth),
  widths: svg.map((each) => each.getBoundingClientRect().width),
  heights: svg.map((each) => each.getBoundingClientRect().height / each.viewBox.baseVal.height),
  scales: svg.map((each) => each.getBoundingClientRect().width / each.viewBox.baseVal.width),
  title: document.title,
  broken: [...document.images].filter((each) => !each.naturalWidth).length,
};
"""


@pytest.mark.browser
@needs_browser
@pytest.mark.parametrize("width", [1280, 420])
def test_a_drawing_scrolls_inside_of_its_box(width: int, tmp_path: Path) -> None:
    found = found_in_browser(page(CONTENTS, hostile()), MEASURE, tmp_path, width)
    assert found["wide"] <= width
    assert (found["title"], found["broken"]) == ("Profile", 0)
    assert found["heights"] == pytest.approx(found["scales"], rel=0.01)
    wide, narrow = found["scales"]
    assert narrow == 1
    assert wide > 0.65, "its labels cannot be read"
    assert (found["widths"][0] > found["boxes"][0]) == (width == 420)

"""Drawings: what they show, that labels fit, and that any name is shown and never carried out."""

import os
import re
import shutil
import subprocess
from itertools import combinations
from xml.etree import ElementTree

import pytest
import timm
from drawn_nets import InForward, UNet
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.drawing.data import Box, Column, Contents, Mark, Receptive
from hmhsa_insert.drawing.layout import Layout
from hmhsa_insert.drawing.svg import cut, width_of

MANY = {
    "version": 1,
    "edits": [
        {
            "op": "insert",
            "id": "attn",
            "at": {"stage": "all", "block": "each"},
            "block": {"type": "hmhsa", "head_dim": 8},
        },
        {"op": "insert", "id": "gate_of_the_neck", "at": {"neck": "all"}, "block": {"type": "timm/eca"}},
    ],
}


def test_what_a_drawing_shows():
    net = timm.create_model("test_resnet")
    edited = hi.apply(net, "stage3.yaml", input_size=(3, 160, 160))
    shown = hi.draw(edited).contents
    assert [(c.name, c.stride, c.size) for c in shown.columns] == [
        ("stage 0", 2, "32×80×80"),
        ("stage 1", 4, "32×40×40"),
        ("stage 2", 8, "48×20×20"),
        ("stage 3", 16, "192×10×10"),
        ("stage 4", 32, "96×5×5"),
        ("head", 0, ""),
    ]
    assert [mark for c in shown.columns for box in c.boxes for mark in box.marks] == list(shown.marks)
    assert shown.marks == (Mark("hmhsa", "+ hmhsa", "layer3.0", "layer3.0.hmhsa"),)
    assert shown.columns[3].boxes[-1].marks == list(shown.marks)
    assert [str(c.sees_before) for c in shown.columns[:5]] == ["11 px", "31 px", "55 px", "71 px", "167 px"]
    assert [str(c.sees) for c in shown.columns[:5]] == ["11 px", "31 px", "55 px", "whole map", "whole map"]
    before, after = hi.profile(net, (3, 160, 160)), hi.profile(edited, (3, 160, 160))
    for column, own in zip(shown.columns, hi.draw(net, input_size=160).contents.columns, strict=True):
        assert column.share_before == own.share
        assert own.sees == column.sees_before
        assert own.share_before is None
    assert sum(c.share for c in shown.columns) == pytest.approx(1)
    grown = shown.columns[3].share * after.macs - shown.columns[3].share_before * before.macs
    assert grown == pytest.approx(after.macs - before.macs)


def test_a_plan_is_drawn_as_what_it_makes():
    net = timm.create_model("test_resnet")
    made = hi.plan(net, "tdb.yaml", input_size=(3, 96, 96))
    drawing = hi.draw(net, made)
    assert drawing.svg == hi.draw(net, "tdb.yaml", 96).svg == hi.draw(hi.apply(net, "tdb.yaml", 96)).svg
    assert {mark.label for mark in drawing.contents.marks} == {"+ tdb", "stride 1"}
    assert [c.stride for c in drawing.contents.columns] == [2, 4, 8, 16, 32, 0]


def test_an_edit_inside_a_forward_is_at_its_block():
    recipe = {"version": 1, "edits": [
        {"op": "insert", "id": "se", "at": {"stage": [0, 1]}, "block": {"type": "timm/eca"}},
    ]}  # fmt: skip
    columns = hi.draw(InForward(), recipe, 64).contents.columns
    assert [[mark.key for box in column.boxes for mark in box.marks] for column in columns] == [
        ["se"],
        ["se_2"],
        [],
    ]
    assert [str(column.sees_before) for column in columns[:2]] == ["3 px", "7 px"]
    assert [str(column.sees) for column in columns[:2]] == ["whole map", "whole map"]


def test_stages_stay_those_of_the_base_network():
    # A block with steps makes coarser maps inside, which are no stages of the network.
    plain, edited = (hi.draw(UNet(), recipe, 128).contents for recipe in (None, MANY))
    assert [(c.name, c.size) for c in edited.columns] == [(c.name, c.size) for c in plain.columns]
    assert len(edited.columns) == 12
    marks = [[mark.edit for box in column.boxes for mark in box.marks] for column in edited.columns]
    assert marks == [[], [], *[["attn"]] * 4, *[["gate_of_the_neck"]] * 5, []]


def test_a_network_without_stages_is_one_column():
    (column,) = hi.draw(nn.Sequential(nn.Flatten(), nn.Linear(48, 4)), input_size=(3, 4, 4)).contents.columns
    assert (column.name, column.share) == ("whole network", 1)
    assert [box.name for box in column.boxes] == ["1"]


HOSTILE = '</text><script>alert(1)</script>"\x00\u202e\ufffe'


def made_up(num_columns, names="layer", num_boxes=3):
    columns = []
    marks = []
    for number in range(num_columns):
        boxes = [Box(f"{names}{number}.{index}", 0, entry=index == 0) for index in range(num_boxes)]
        marks.append(Mark(f"{names}{number}", f"+ {names}", f"{names}.{number}", "key"))
        boxes[-1].marks += marks[-1:] * 2
        field = Receptive(1000 + number, 2000)
        columns.append(
            Column(f"stage {names}", 2, "1024×224×224", number > 5, boxes, 0.5, field, 0.25, Receptive(9, 9))
        )
    return Contents(names, "3×224×224", (*columns, Column("head", share=0.01)), tuple(marks))


def drawn(contents):
    layout = Layout(contents)
    return layout.draw(), layout.sheet.labels


CASES = {
    "three stages": lambda: made_up(3),
    "twelve stages": lambda: made_up(12),
    "long names": lambda: made_up(8, "a_module_whose_name_is_longer_than_its_box_" * 3),
    "wide characters": lambda: made_up(4, "注意力模块の名前W🙂" * 4),
    "many blocks": lambda: made_up(5, num_boxes=40),
    "hostile": lambda: made_up(3, HOSTILE),
    "network": lambda: hi.draw(UNet(), MANY, 128).contents,
}


@pytest.mark.parametrize("name", CASES)
def test_labels_do_not_overlap_and_stay_on_the_sheet(name):
    svg, labels = drawn(CASES[name]())
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
    for label in labels:
        assert 0 <= label.left < label.right <= width, label
        assert 0 <= label.top < label.bottom <= height, label
    for one, two in combinations(labels, 2):
        apart = (
            one.right <= two.left or two.right <= one.left or one.bottom <= two.top or two.bottom <= one.top
        )
        assert apart, (one, two)


@pytest.mark.parametrize("name", CASES)
def test_a_drawing_is_xml_of_our_own_elements(name):
    svg, labels = drawn(CASES[name]())
    assert svg == drawn(CASES[name]())[0]
    elements = [element.tag.rpartition("}")[2] for element in ElementTree.fromstring(svg).iter()]
    assert set(elements) <= {"svg", "title", "style", "rect", "path", "text"}
    assert elements.count("text") == len(labels)
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\ufffe]", svg)


def test_a_long_name_is_cut_and_shown_in_full_by_a_pointer():
    name = "a_module_whose_name_is_longer_than_its_box.17"
    assert cut(name, 100, 12, keep_end=True) == "…_its_box.17"
    assert cut(name, 100, 12) == "a_module_wh…"
    assert cut("short", 100, 12) == "short"
    svg, _ = drawn(made_up(1, name))
    assert f"<title>{name}0.2</title>" in svg
    assert width_of("e\u0301", 10) == width_of("e", 10)


def test_files(tmp_path):
    drawing = hi.draw(nn.Sequential(nn.Conv2d(3, 8, 3, 2)), input_size=32)
    path = drawing.save(tmp_path / "net.svg")
    assert path.read_text(encoding="utf-8") == drawing.svg == drawing._repr_svg_() == drawing._repr_html_()
    assert "@media (prefers-color-scheme: dark)" in drawing.svg
    with pytest.raises(hi.HmhsaInsertError, match="this is a folder"):
        drawing.save(tmp_path)


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.browser
@pytest.mark.skipif(
    not BROWSER and "BROWSER_TESTS" not in os.environ, reason="needs chromium: see `make test-browser`"
)
@pytest.mark.parametrize("name", CASES)
def test_labels_take_no_more_room_in_a_browser(name, tmp_path):
    svg, labels = drawn(CASES[name]())
    script = "document.title = [...document.querySelectorAll('text')].map(t => t.getBBox().width).join(' ')"
    page = tmp_path / "page.html"
    text = f"<!DOCTYPE html><head><meta charset=utf-8><title></title></head><body>{svg}<script>{script}</script></body>"
    page.write_text(text, encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
    ]
    done = subprocess.run(
        [BROWSER, *flags, page.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    widths = [float(width) for width in re.search("<title>([\\d. ]+)</title>", done.stdout)[1].split()]
    assert len(widths) == len(labels)
    for width, label in zip(widths, labels, strict=True):
        assert width <= label.right - label.left + 0.01, label.text

"""One function for each output, by its values."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmhsa_insert.errors import HmhsaInsertError, Problem
from hmhsa_insert.inert import (
    csv_text,
    html,
    json_text,
    latex,
    markdown,
    markdown_code,
    markdown_start,
    visible,
)

sys.path.insert(0, str(Path(__file__).parent / "commands"))

from hostile import formulas, live, markdown_links

ANY_TEXT = st.text(st.characters(codec=None), max_size=40)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("resnet18 + stage3", "resnet18 + stage3"),
        ("Größe × 3 – 日本語 👩‍🔬", "Größe × 3 – 日本語 👩‍🔬"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\ud800\x9b", r"\ud800\x9b"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_a_terminal_shows(text, shown):
    assert visible(text) == shown
    assert visible(text, lines=True) == shown.replace(r"\n", "\n")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("irb_tiny + hmhsa", "irb_tiny + hmhsa"),
        ("[1] published: x", "[1] published: x"),
        ("[1](u)", r"\[1](u)"),
        ("![i](u)", r"!\[i](u)"),
        ("see http://e.example/a_b", "see `http://e.example/a_b`"),
        ("me@e.example", "`me@e.example`"),
        ("http://e/`x`", "`` http://e/`x` ``"),
        ("<b> &lt; *x* _y_ a|b", r"\<b> \&lt; \*x\* \_y\_ a\|b"),
        ("a\n b", "a b"),
    ],
)
def test_markdown_shows(text, written):
    assert markdown(text) == written


def test_lines_of_markdown_begin_nothing():
    starts = ["# a", "- a", "1. a", "> a", "===", "a", "-5.0%", "#Params"]
    assert [*map(markdown_start, starts)] == [
        r"\# a",
        r"\- a",
        r"1\. a",
        r"\> a",
        r"\===",
        "a",
        "-5.0%",
        r"\#Params",
    ]
    assert markdown_code("a`b|c") == r"`` a`b\|c ``"


def test_csv_holds_no_formula_and_numbers_stay_numbers():
    cells = [
        "=1",
        "+x",
        "-x",
        "@x",
        " =1",
        "＝1",
        "-5",
        "-5.5e-3",
        "+1",
        "a;=1",
        'a"b',
        None,
        -3,
        1.5,
        float("nan"),
        "\t=1",
    ]
    (row,) = csv.reader(io.StringIO(csv_text("a" * 16, [cells]).partition("\n")[2]))
    assert row == [
        "'=1",
        "'+x",
        "'-x",
        "'@x",
        "' =1",
        "'＝1",
        "-5",
        "-5.5e-3",
        "+1",
        "a;=1",
        'a"b',
        "",
        "-3",
        "1.5",
        "",
        r"\t=1",
    ]
    assert '"a;=1"' in csv_text(["a"], [["a;=1"]])


def test_json_is_the_same_data():
    value = {"a\x9b": "\x1b[\u202e\x7f\U000e0041\u2028é", "b": [1, None, -0.5]}
    text = json_text(value)
    assert json.loads(text) == value
    assert live(text) == []
    assert "é" in text
    assert json.loads(json_text("\udc80")) == r"\udc80"


def test_latex_and_html():
    assert latex("-5 \\a{b}%$_#&~^<|>\x1b") == (
        r"$-$5 \textbackslash{}a\{b\}\%\$\_\#\&\textasciitilde{}\textasciicircum{}\textless{}\textbar{}\textgreater{}"
        r"\textbackslash{}x1b"
    )
    assert html("<a b=\"c\" d='e'>&\x1b") == r"&lt;a b=&quot;c&quot; d=&#x27;e&#x27;&gt;&amp;\x1b"


def test_messages_are_inert_and_no_flood():
    problem = Problem("a\x1b[2J\n", "found \u202e" + "x" * 100_000, "t\x07")
    assert live(str(HmhsaInsertError(problem))) == []
    assert "\n" not in str(problem)
    assert len(str(problem)) < 2200
    assert "more characters" in problem.message


@given(ANY_TEXT)
def test_nothing_is_live_whatever_the_text(text):
    for write in (visible, markdown, markdown_code, latex, html, json_text):
        assert live(write(text)) == []
    assert markdown_links(f"| {markdown(text)} | b |\n|---|---|\n| a | {markdown(text)} |\n") == []
    assert markdown_links(f"- {markdown_start(markdown(text))}\n") == []
    assert formulas(csv_text([text], [[text, text]])) == []

"""The page: it loads nothing, all text on it is escaped, and its tables sort in a real browser."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pytest
from browser import in_browser, needs_browser
from report_records import ALL, SIZES, latency, memory, profile

from hmhsa_insert.reports.frame import tidy
from hmhsa_insert.reports.html import to_html
from hmhsa_insert.reports.plots import Plot
from hmhsa_insert.reports.render import render
from hmhsa_insert.reports.table import make_table


class Page(HTMLParser):
    """What a page is made of: its tags, their attributes, and all text outside script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.words += data


BLOCKS = [{"name": "conv", "num_params": 1, "macs": 10**9, "macs_modules_only": 1, "activations": 1}]


def page(title: str = "Costs", more: tuple[dict, ...] = ()) -> str:
    return render([*ALL, *SIZES, *more], "html", title=title, parts=True)


def test_the_page_is_self_contained():
    text = page(more=(profile("parts", by_module=BLOCKS),))
    parsed = Page(text)
    assert not [attrs for _, attrs in parsed.tags if {"href", "srcset"} & set(attrs)]
    sources = [attrs["src"] for tag, attrs in parsed.tags if "src" in attrs]
    assert len(sources) == 5
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    for source in sources:
        svg = base64.b64decode(source.partition(",")[2]).decode()
        assert "<svg" in svg
        assert "<script" not in svg
    assert not re.search(r"https?://", re.sub(r"base64,[\w+/=]+", "", text))
    assert all(attrs.get("alt") for tag, attrs in parsed.tags if tag == "img")


def test_everything_on_the_page_is_escaped():
    name = "<script>alert('x')</script>\"&"
    hostile = profile(name, group=name, memory=memory(5.0))
    text = page(title=name, more=(hostile,))
    parsed = Page(text)
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert parsed.words.count(name) >= 3
    values = [attrs["data-value"] for tag, attrs in parsed.tags if tag == "td"]
    assert name in values
    known = {
        "class",
        "data-value",
        "scope",
        "aria-sort",
        "type",
        "src",
        "alt",
        "lang",
        "charset",
        "http-equiv",
    }
    assert {key for _, attrs in parsed.tags for key in attrs} <= known | {"content", "name"}


def test_a_caption_is_text_and_no_element():
    parsed = Page(to_html("t", [Plot('<b id="x">"', "<svg/>")]))
    assert "b" not in [tag for tag, _ in parsed.tags]
    assert [attrs["alt"] for tag, attrs in parsed.tags if tag == "img"] == ['<b id="x">"']
    assert '<b id="x">"' in parsed.words


def test_blanks_are_blank_on_the_page():
    parsed = Page(to_html("t", [make_table(tidy(ALL), ["method", "macs"])]))
    cells = [attrs["data-value"] for tag, attrs in parsed.tags if tag == "td"]
    assert cells[1] == "1814073344.0"
    assert cells[-1] == ""
    marked = [
        attrs["class"] for tag, attrs in parsed.tags if tag == "tr" and "published" in attrs.get("class", "")
    ]
    assert marked == ["group published", *["published"] * 3] * 2
    assert to_html("t", [make_table(tidy(ALL), ["method", "macs"])]).count("<sup>[") == len(marked)


def test_the_page_says_its_title_once_and_ends_with_the_parts():
    text = page(more=(profile("parts", by_module=BLOCKS),))
    assert re.findall(r"<h([12])>Costs</h\1>", text) == ["1"]
    assert text.rindex("<figure>") < text.index("<h2>Where it is spent</h2>")


@pytest.mark.browser
@needs_browser
@pytest.mark.parametrize(("clicks", "order"), [(1, "ascending"), (2, "descending")])
def test_a_column_sorts_in_a_browser(tmp_path, clicks, order):
    table = make_table(
        tidy([*ALL, profile("slow", inference=latency(250.0))]), ["method", "params", "throughput"]
    )
    click = "document.querySelectorAll('th button')[2].click();" * clicks
    parsed = Page(in_browser(to_html("t", [table]), click, tmp_path))
    heads = [attrs["aria-sort"] for tag, attrs in parsed.tags if tag == "th"]
    assert heads == ["none", "none", order]
    values = [attrs["data-value"] for tag, attrs in parsed.tags if tag == "td"][2::3]
    known = [float(value) for value in values if value]
    assert known == sorted(known, reverse=order == "descending")
    assert len(known) == 3
    assert known[0] != known[-1]
    # Blanks are last, whichever way.
    assert values[3:] == [""] * 9


@pytest.mark.browser
@needs_browser
def test_a_hostile_name_does_not_run_in_a_browser(tmp_path):
    name = "<img src=x onerror=\"document.title='owned'\">"
    text = page(more=(profile(name, group=name, memory=memory(5.0)),))
    assert "<title>Costs</title>" in in_browser(text, "", tmp_path)

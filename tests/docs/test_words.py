"""The README read by someone who has the paper nowhere: each word of ours is introduced before it is used.

A word is introduced where it stands in bold, with its meaning. The words are those of docs/glossary.md, but for those
of the field.
"""

from __future__ import annotations

import re

import pytest
from page_runs import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
# In the glossary for their exact sense; every reader of the README knows them.
OF_THE_FIELD = {
    "block",
    "MACs",
    "report",
    "run",
    "zoo",
    "cell",
    "control",
    "edit",
    "neck",
    "plan",
    "variant",
    "host",
    "matched",
}


def words() -> list[str]:
    return [
        word
        for line in re.findall(r"^\*\*.+\*\*$", GLOSSARY, re.MULTILINE)
        for word in re.findall(r"\*\*(.+?)\*\*", line)
    ]


def uses(word: str, text: str) -> list[int]:
    """Return where a word is used, in either number; not in addresses of links."""
    shown = re.sub(r"\]\([^)]*\)", lambda found: "]" + " " * (len(found[0]) - 1), text)
    return [
        found.start()
        for found in re.finditer(rf"(?<![\w-]){re.escape(word)}s?(?![\w-])", shown, re.IGNORECASE)
    ]


def introduced_at(word: str, text: str) -> int | None:
    """Return where a word stands in bold for the first time."""
    found = re.search(rf"\*\*{re.escape(word)}s?\*\*", text, re.IGNORECASE)
    return found.start() + 2 if found else None


def used_too_early(text: str) -> dict[str, str]:
    """Return the words that are used before they are introduced, and the line of their first use."""
    found = {}
    for word in words():
        used = uses(word, text)
        if used and word not in OF_THE_FIELD and used[0] != introduced_at(word, text):
            found[word] = text[: used[0] + len(word)].rpartition("\n")[2]
    return found


def test_no_word_is_used_before_it_is_introduced() -> None:
    assert used_too_early(README) == {}


def test_the_glossary_is_in_order_and_the_paper_s_words_are_in_the_readme() -> None:
    assert {"H-MHSA", "TDB", "IRB", "stage", "recipe", "artifact", "placebo", "study"} <= {*words()}
    assert {*words()} >= OF_THE_FIELD
    for word in ("H-MHSA", "TDB", "IRB", "stage", "recipe", "artifact", "placebo", "study", "site"):
        assert introduced_at(word, README) is not None, word


@pytest.mark.parametrize("text", ["A site is a place. **site**", "the stages", "an H-MHSA: **H-MHSA** is"])
def test_a_use_before_is_noticed(text: str) -> None:
    assert len(used_too_early(text)) == 1

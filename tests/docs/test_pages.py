"""Every command and snippet of README and docs/ runs, or is checked as far as it can be without other machines.

``sh`` and ``python`` blocks run in the page's order, in one folder; a block with a title is the file that the reader
writes. Marks: ``long`` (run by `make test-long`), ``extras`` (by `make test-libs`) and ``hub`` (by tests/hub),
``no-run`` (Python that is compiled alone). Of ``console`` blocks the commands are parsed: they and their options exist.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from page_runs import ROOT, RUNNERS, check_yaml, commands_of, parse_ours
from snippets import lay_out, pages, snippets

MARKS = {"long", "extras", "hub", "no-run"}
# The tutorial runs smaller here than it is written: what is shown, and what is run.
SMALLER = {
    "--images 800": "--images 24",
    "--images 480": "--images 24",
    "pretrain.py old cellnet.pth": "pretrain.py old cellnet.pth --epochs 1",
    "seeds: 3": "seeds: 1",
    "epochs: 6": "epochs: 1",
}
PAGES = {page.relative_to(ROOT).as_posix(): page for page in pages()}


def smaller(text: str) -> str:
    for shown, run in SMALLER.items():
        text = text.replace(shown, run)
    return text


def run_page(page: Path, folder: Path, long: bool) -> None:
    lay_out(page, folder)
    names: dict[str, object] = {"__name__": "page"}
    for each in snippets(page):
        if not long:
            each = replace(each, text=smaller(each.text))
        if each.title:
            (folder / each.title).write_text(each.text, encoding="utf-8")
        elif each.marks - {"long"} or (each.marks and not long):
            continue
        elif each.language == "python":
            exec(compile(each.text, f"{page.name}:{each.line}", "exec"), names)
        elif each.language == "sh":
            for words in commands_of(each):
                RUNNERS[words[0]](words)


@pytest.mark.parametrize("name", PAGES)
def test_the_quick_blocks_run(name: str, page_folder: Path) -> None:
    run_page(PAGES[name], page_folder, long=False)


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [name for name, page in PAGES.items() if any("long" in each.marks for each in snippets(page))]
)
def test_all_blocks_run(name: str, page_folder: Path) -> None:
    run_page(PAGES[name], page_folder, long=True)


@pytest.mark.parametrize("name", PAGES)
def test_what_is_not_run_is_checked(name: str, page_folder: Path) -> None:
    lay_out(PAGES[name], page_folder)
    for each in snippets(PAGES[name]):
        assert each.marks <= MARKS, f"{name}:{each.line}"
        if each.language in ("sh", "console"):
            for words in commands_of(each):
                parse_ours(words)
        if each.language == "python":
            compile(each.text, f"{name}:{each.line}", "exec")
        if each.language == "yaml":
            check_yaml(each.text, page_folder)


def test_a_page_s_faults_are_noticed(page_folder: Path) -> None:
    def page(text: str) -> Path:
        path = page_folder / "page.md"
        path.write_text(text, encoding="utf-8")
        return path

    for text, error in {
        "```sh\nhmhsa-insert blocks nothing\n```": AssertionError,
        "```python\nassert False\n```": AssertionError,
        "```sh\nrm x\n```": KeyError,
    }.items():
        with pytest.raises(error):
            run_page(page(text), page_folder, long=False)
    with pytest.raises(Exception, match="No such option"):
        parse_ours(["hmhsa-insert", "plan", "resnet18", "--recipies", "x"])

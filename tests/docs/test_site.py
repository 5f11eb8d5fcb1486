"""The documentation's site: the reference has all that the code has, notebooks ran, and the site builds strict."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import reference
import typer
from notebooks import FOLDER, execute, page_of
from page_runs import ROOT

import hmhsa_insert as hi
from hmhsa_insert.blocks import BLOCKS
from hmhsa_insert.commands import app
from hmhsa_insert.recipe.selectors.table import SELECTORS
from hmhsa_insert.tasks.table import TASKS, task_class
from hmhsa_insert.training.settings_keys import settings_keys

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_the_page_of_commands_has_each_option() -> None:
    page = reference.commands()
    commands = typer.main.get_command(app).commands
    for name, command in commands.items():
        assert f"## {name}" in page
        section = page.split(f"\n## {name}\n", 1)[-1].split("\n## ", 1)[0]
        shown = [
            each for each in command.params if each.name != "help" and not getattr(each, "hidden", False)
        ]
        assert [
            each.opts[0] for each in shown if each.opts[0].startswith("-") and each.opts[0] not in section
        ] == []
    assert "`--config FILE`" in page


def test_the_page_of_recipes_has_each_selector_and_block() -> None:
    page = reference.recipe()
    assert [name for name in (*SELECTORS, *BLOCKS) if f"\n### {name}\n" not in page] == []
    for block in BLOCKS.values():
        section = (
            page.partition("\n## Blocks\n")[2].split(f"\n### {block.name}\n", 1)[-1].split("\n### ", 1)[0]
        )
        assert [
            key for key in block.options.model_fields if key != "type" and f"`{key}`" not in section
        ] == []


def test_the_page_of_settings_has_each_key_with_its_meaning() -> None:
    page = reference.settings()
    for task in TASKS:
        for key in settings_keys(task_class(task).settings_type):
            assert re.search(rf"^\| `{re.escape(key.key)}` \| .+ \| .+ \|$", page, re.MULTILINE), key


def test_the_page_of_python_has_each_public_name() -> None:
    page = reference.python()
    assert [name for name in hi.__all__ if name != "__version__" and f".{name}\n" not in page] == []


def test_every_key_of_a_study_has_a_meaning() -> None:
    assert "| `seeds` | required | of base weights" in reference.study()
    assert not re.search(r"^\| `\w+` \| [^|]* \|  \|$", reference.study(), re.MULTILINE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_run_to_its_end_and_is_a_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [each for cell in cells for each in cell["outputs"] if each["output_type"] == "error"]
    assert not re.search(r"(?<![\w.])/(home|root|tmp|work)/", text), "a path of some machine"
    assert page_of(path).startswith("# ")


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    made = execute(path, tmp_path)
    shown = [bool(cell.outputs) for cell in made.cells if cell.cell_type == "code"]
    before = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert shown == [bool(cell["outputs"]) for cell in before if cell["cell_type"] == "code"]


@pytest.mark.long
def test_the_site_builds_strict_and_asks_nothing_of_others(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|iframe)[^>]*src=\"(https?:)?//", text), page
        assert not re.search(
            r"<link[^>]*rel=\"(stylesheet|preconnect|icon)\"[^>]*href=\"(https?:)?//", text
        ), page


def slug(heading: str) -> str:
    """Return the anchor that a code host gives to a heading."""
    words = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_of_the_root_s_pages_lead_somewhere(name: str) -> None:
    """Those of docs/ are checked by the site's build."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s:]*(?:#[^)\s]*)?)\)", text):
        path, _, anchor = target.partition("#")
        found = ROOT / path if path else ROOT / name
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), target

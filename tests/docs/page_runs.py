"""How the code blocks of a page are run: one function for each first word of a command, one for each language."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import typer
import yaml
from snippets import Snippet
from typer.testing import CliRunner

from hmhsa_insert.commands import app

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def commands_of(snippet: Snippet) -> list[list[str]]:
    """Return the words of each command; of a ``console`` block, what stands after the prompt."""
    lines = snippet.text.replace("\\\n", " ").splitlines()
    if snippet.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def run_ours(words: list[str]) -> None:
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, (words, result.output)


def run_python(words: list[str]) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, *words[1:]], env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, (words, found.stderr)


def check_target(words: list[str]) -> None:
    for target in words[1:]:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def check_package(words: list[str]) -> None:
    """Check that an installer is asked for this package, with extras that it has."""
    asked = [re.fullmatch(r"([\w-]+)(?:\[([\w,]+)\])?", word) for word in words[1:]]
    found = [each for each in asked if each and each[1] == PROJECT["name"]]
    assert len(found) == 1, words
    extras = (found[0][2] or "").split(",")
    assert set(filter(None, extras)) <= PROJECT["optional-dependencies"].keys(), words


def run_ls(words: list[str]) -> None:
    for path in words[1:]:
        assert Path(path).exists(), path


RUNNERS: dict[str, Callable[[list[str]], None]] = {
    "hmhsa-insert": run_ours,
    "python": run_python,
    "make": check_target,
    "pip": check_package,
    "pipx": check_package,
    "uv": check_package,
    "ls": run_ls,
}


def parse_ours(words: list[str]) -> None:
    """Check a command that is not run: it exists and takes these options."""
    if "hmhsa-insert" not in words or words[0] in RUNNERS.keys() - {"hmhsa-insert"}:
        return
    command = typer.main.get_command(app)
    rest = words[words.index("hmhsa-insert") + 1 :]
    for operator in ("&", "|", ">"):
        rest = rest[: rest.index(operator)] if operator in rest else rest
    while hasattr(command, "commands"):
        assert rest, words
        assert rest[0] in command.commands, words
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context("hmhsa-insert", list(rest))


def check_yaml(text: str, folder: Path) -> None:
    """Check a file that a page shows: as a recipe, a study, or training settings, by its keys."""
    from hmhsa_insert.recipe import parse_text
    from hmhsa_insert.studies.study_file import load_study
    from hmhsa_insert.training.settings import load_settings

    keys = yaml.safe_load(text).keys()
    if "edits" in keys:
        parse_text(text)
    elif "models" in keys:
        for weights in re.findall(r"weights: ([\w.]+)", text):
            (folder / weights).touch()
        (folder / "checked.yaml").write_text(text, encoding="utf-8")
        load_study(str(folder / "checked.yaml"), allow_code=True)
    else:
        (folder / "checked.yaml").write_text(text, encoding="utf-8")
        load_settings(folder / "checked.yaml")

"""Whatever the source, the README and the pages name exists: options, commands, functions, shipped files."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_shared_options import COMMANDS, options_of

import hmhsa_insert as hi
from hmhsa_insert.commands.shared import SHARED
from hmhsa_insert.recipe.library import shipped_files

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "hmhsa_insert"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
LINE = re.compile(r"hmhsa-insert ((?:recipe |data )?[a-z][a-z-]*)(?![\w.\]])([^`]*)")
CODE = re.compile(r"`([^`]+)`")
MENTION = re.compile(r"`([a-z_]+)=[^`]*`")
FUNCTION = re.compile(r"\bhi\.([A-Za-z_]+)")
NAMED = re.compile(r"--(recipe|config) ([a-z0-9_]+)(?:\.yaml)?(?![\w./])")
SHIPPED = {"recipe": shipped_files().keys(), "config": shipped_files("training").keys()}
# Files of a command's own, and the commands of a file that holds several.
SEVERAL = {
    "catalog": ("recipes", "settings", "blocks", "models"),
    "recipe": ("recipe check", "recipe schema"),
    "data": ("data make-shapes", "data convert"),
    "ablate_view": ("ablate",),
    "profile_detectors": ("profile",),
}
# A report says how to make its figures again.
WHOLE_COMMANDS = ("reports/context.py", "reports/record_context.py", "reports/study_context.py")
# Options of other programs.
OTHERS = {"--head", "--version", "--install-completion", "--show-completion"}
OLD = {each.flag for row in SHARED.values() for each in row.old.values()}
EVERYWHERE = {flag for command in COMMANDS for flag in options_of(command)} | OTHERS | OLD


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every text of a file with its line; what f-strings fill in is an ellipsis. Docstrings are no tips."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inside.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            inside |= set(node.values)
            yield (
                node.lineno,
                "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.lineno, node.value


def wrong_in_code(code: str) -> Iterator[str]:
    """Yield what a command line in code names that does not exist."""
    for name, rest in LINE.findall(code):
        if name not in COMMANDS and name.split()[0] in COMMANDS:  # `recipe` of "recipe x" is a group
            name = name.split()[0]
        if name not in COMMANDS:
            yield f"no command {name}"
            continue
        yield from (f"{name} has no {flag}" for flag in FLAG.findall(rest) if flag not in options_of(name))


def arguments() -> set[str]:
    """Return the names of all arguments of public functions and of commands."""
    functions = [getattr(hi, name) for name in hi.__all__ if inspect.isfunction(getattr(hi, name, None))]
    of_functions = {name for each in functions for name in inspect.signature(each).parameters}
    return of_functions | {each.name for command in COMMANDS.values() for each in command.params}


ARGUMENTS = arguments()
SOURCES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("name", SOURCES)
def test_what_a_source_names_exists(name: str) -> None:
    path = PACKAGE / name
    is_command = path.parent.name == "commands"
    own = SEVERAL.get(path.stem, (path.stem,) if path.stem in COMMANDS else ())
    allowed = {flag for command in own for flag in options_of(command)} if own else EVERYWHERE
    wrong = []
    for line, text in strings(path):
        wrong += [f"{line}: {said}" for code in CODE.findall(text) for said in wrong_in_code(code)]
        outside = CODE.sub("", text)
        for flag in FLAG.findall(outside):
            # Below the commands, arguments are named.
            if flag not in allowed or not (is_command or name in WHOLE_COMMANDS):
                wrong.append(f"{line}: {flag}")
        wrong += [f"{line}: no argument {each}" for each in MENTION.findall(text) if each not in ARGUMENTS]
        names = (each for each in FUNCTION.findall(text) if each not in (*hi.__all__, "integrations"))
        wrong += [f"{line}: no hi.{each}" for each in names]
        wrong += [
            f"{line}: no shipped {kind} {file}"
            for kind, file in NAMED.findall(text)
            if file not in SHIPPED[kind]
        ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    prose, *fenced = re.split(r"^ *```", text, flags=re.MULTILINE)
    code = fenced[::2] + [each for part in (prose, *fenced[1::2]) for each in CODE.findall(part)]
    wrong = [said for each in code for line in each.splitlines() for said in wrong_in_code(line)]
    wrong += [f"no hi.{each}" for each in FUNCTION.findall(text) if each not in (*hi.__all__, "integrations")]
    assert wrong == []


def test_the_reader_sees_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "tips.py"
    path.write_text(
        '"""--doc"""\nx = f"give {1} --nothing"\ny = "`hmhsa-insert plam` or `hmhsa-insert plan --seed 1`"\n'
    )
    assert [text for _, text in strings(path)] == [
        "give … --nothing",
        "`hmhsa-insert plam` or `hmhsa-insert plan --seed 1`",
    ]
    codes = CODE.findall("`hmhsa-insert plam` or `hmhsa-insert plan --seed 1`")
    assert [said for code in codes for said in wrong_in_code(code)] == [
        "no command plam",
        "plan has no --seed",
    ]

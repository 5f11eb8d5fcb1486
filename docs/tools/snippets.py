"""The code blocks of the pages: read, and run in a shell by ``python docs/tools/snippets.py PAGE FOLDER``.

A block's first line says what it is: a language and marks, such as ``sh long`` or ``yaml title="mine.yaml"``. Tests run
the blocks of every page in order (``tests/docs``); as a program this file does it as a user would, with the
``hmhsa-insert`` and ``python`` that the shell finds. Only the standard library is used: the shell may have no more.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')
_FILES = re.compile(r"^<!-- files: (\S+) -->$", re.MULTILINE)
_INCLUDE = re.compile(r'^--8<-- "([^"]+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Snippet:
    """One code block.

    Attributes:
        language: ``sh``, ``console``, ``python``, ``yaml`` or another one.
        marks: the words after it, such as ``long``.
        title: the file that the reader writes it to; empty where there is none.
        text: its lines.
        line: of the page where it begins, from 1.
    """

    language: str
    marks: frozenset[str]
    title: str
    text: str
    line: int


def pages() -> list[Path]:
    """Return every page that is written by hand: README and those in docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def snippets(page: Path) -> Iterator[Snippet]:
    """Yield the code blocks of a page, with the files in place that they include."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        language, rest, body = found.groups()
        title = _TITLE.search(rest)
        marks = frozenset(_TITLE.sub("", rest).split())
        body = _INCLUDE.sub(lambda each: (ROOT / each[1]).read_text(encoding="utf-8").rstrip("\n"), body)
        line = text.count("\n", 0, found.start()) + 1
        yield Snippet(language, marks, title[1] if title else "", body, line)


def lay_out(page: Path, folder: Path) -> None:
    """Copy the files into `folder` that a page begins with: ``<!-- files: examples/solar_cells -->``."""
    folder.mkdir(parents=True, exist_ok=True)
    for found in _FILES.finditer(page.read_text(encoding="utf-8")):
        shutil.copytree(
            ROOT / found[1], folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )


def main(page: Path, folder: Path) -> None:
    """Run the commands and Python of a page in a folder that is empty or new, and print what each took."""
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty")
    lay_out(page, folder)
    began = time.monotonic()
    for each in snippets(page):
        if each.title:
            (folder / each.title).write_text(each.text, encoding="utf-8")
        if each.language not in ("sh", "python") or each.marks - {"long"}:
            continue
        command = ["bash", "-euxc", each.text] if each.language == "sh" else ["python", "-c", each.text]
        print(f"\n{page.name}:{each.line}", flush=True)
        if subprocess.run(command, cwd=folder, check=False).returncode:
            sys.exit(f"{page}:{each.line}: failed")
        print(f"{time.monotonic() - began:.0f} s since the beginning", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

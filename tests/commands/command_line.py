"""What the tests of the command line share: running a line, and a user's folder to run it in."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from hmhsa_insert.commands import app

# A module of the user's own: three stages, and factories that go wrong in every way.
USERNET = """
import torch
import torch.nn.functional as F
from torch import nn

MEAN = torch.zeros(3, 1, 1)


def small():
    return nn.Sequential(
        nn.Conv2d(3, 16, 4, 4), nn.ReLU(),
        nn.Conv2d(16, 32, 2, 2), nn.ReLU(),
        nn.Conv2d(32, 64, 2, 2), nn.BatchNorm2d(64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5),
    )


def other():
    return nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.ReLU(), nn.Conv2d(16, 32, 2, 2))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 16, 4, 4), nn.Conv2d(16, 16, 3, padding=1), nn.Linear(16, 5)

    def forward(self, x):
        x = F.relu(self.b(F.max_pool2d(self.a(x), 2)))
        return self.head(x.mean((2, 3)))


def needs(width):
    return small()


def broken():
    raise RuntimeError("no luck\\non two lines")


def number():
    return 3


def script():
    raise SystemExit(2)


NETWORK = small()
"""

EDIT = """version: 1
name: mine
edits:
  - op: {op}
    id: {id}
    at: {at}
"""


def recipe(
    at: str = "{stage: 3}",
    block: str = "{type: hmhsa, head_dim: 16, grids: auto}",
    op: str = "insert",
    id: str = "attn",
    more: str = "",
) -> str:
    """Return the text of a recipe with one edit; `more` is put below it. Its lines: op 4, id 5, at 6, block 7."""
    text = EDIT.format(op=op, id=id, at=at)
    return text + (f"    block: {block}\n" if block else "") + more


def run(line: str) -> Result:
    """Run one command line in this process; an exception of any kind but an exit is the test's."""
    return CliRunner().invoke(app, shlex.split(line), catch_exceptions=True)


def output(line: str) -> str:
    """Return what a command line prints, which must succeed, say nothing on standard error and fit 80 columns."""
    result = run(line)
    assert (result.exit_code, result.stderr) == (0, ""), result.stderr or result.exception
    widest = max(result.stdout.splitlines(), key=len, default="")
    assert len(widest) <= 80 or result.stdout.startswith(("{", "[")), widest
    return result.stdout


def listing(folder: Path) -> dict[str, bytes | None]:
    """Return every file below a folder with its content; folders hold None."""
    paths = (p for p in sorted(folder.rglob("*")) if "__pycache__" not in p.parts)
    return {str(p.relative_to(folder)): None if p.is_dir() else p.read_bytes() for p in paths}


def error_of(line: str, code: int = 1) -> str:
    """Return the report of a command line that must fail and leave the working folder as it was."""
    before = listing(Path.cwd())
    result = run(line)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code
    assert "Traceback" not in result.output
    assert listing(Path.cwd()) == before
    return result.stderr


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))

"""``--help`` answers without torch, at 80 columns; ``import hmhsa_insert`` is light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import typer.main

from hmhsa_insert.commands import app

SHIM = Path(__file__).parents[2] / "cli.py"
HELP = """
import sys
from typer.testing import CliRunner
from hmhsa_insert.commands import app
for line in sys.argv[1:]:
    result = CliRunner().invoke(app, [*line.split(), "--help"])
    assert result.exit_code == 0, (line, result.output)
    print(result.output)
heavy = {"torch", "torchvision", "timm", "numpy", "pandas", "yaml"} & set(sys.modules)
assert not heavy, heavy
"""


def commands() -> list[str]:
    """Return every command line there is, groups and the program itself included."""
    group = typer.main.get_command(app)
    names = [""]
    for name, command in group.commands.items():
        names += [name, *(f"{name} {child}" for child in getattr(command, "commands", {}))]
    return names


def run(code: str, *arguments: str) -> str:
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_help_of_every_command_needs_no_torch_and_80_columns() -> None:
    lines = commands()
    assert {"stages", "plan", "apply", "show", "recipes", "blocks", "models", "recipe schema"} <= set(lines)
    text = run(HELP, *lines)
    assert "Put a recipe's blocks into a network, prove what the edit did" in text
    assert max(map(len, text.splitlines())) <= 80


def test_each_example_is_a_line_of_its_own() -> None:
    text = run(HELP, "train", "evaluate", "suggest", "apply")
    assert "  • hmhsa-insert evaluate runs/plain runs/stage3 --data digits  " in text
    assert "  • hmhsa-insert evaluate runs/retinanet --data /data/coco -o found.json  " in text
    assert " Example: hmhsa-insert apply resnet50 --recipe stage3.yaml -o out  " in text
    assert text.count("  • ") == 7


def test_the_package_imports_without_torch_and_lists_its_names() -> None:
    code = "import sys, hmhsa_insert as hi; print(*dir(hi)); assert 'torch' not in sys.modules"
    names = run(code).split()
    for name in ("apply", "load", "locate_stages", "plan", "remove", "save", "verify", "HmhsaInsertError"):
        assert name in names


def test_the_program_and_the_shim_are_the_same() -> None:
    program = subprocess.run(
        [sys.executable, str(SHIM), "--help"], capture_output=True, text=True, check=False
    )
    assert program.returncode == 0
    assert "apply" in program.stdout

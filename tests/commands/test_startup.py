"""What commands import: those that only read and list do without torch, timm and the rest that is slow to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Every one takes from a quarter of a second to seconds to import.
_SLOW = ("torch", "timm", "torchvision", "accelerate", "matplotlib", "sklearn", "huggingface_hub")
_RUN = """
import sys
from hmhsa_insert.commands import app
try:
    app(sys.argv[2:], prog_name="hmhsa-insert")
except SystemExit as left:
    code = left.code or 0
found = [name for name in sys.argv[1].split(",") if name in sys.modules]
sys.exit(f"imported {found}" if found else code)
"""


def ran(folder: Path, *command: str, slow: tuple[str, ...] = _SLOW) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", _RUN, ",".join(slow), *command]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "recipe check stage3.yaml",
        "recipe check every_block.yaml",
        "recipe check transcnn.yaml",
        "recipes",
        "recipes stage3",
        "blocks",
        "blocks hmhsa",
        "blocks placebo",
        "settings",
        "settings --task detect",
        "settings finetune",
    ],
)
def test_commands_that_read_and_list_import_nothing_slow(command: str, tmp_path: Path) -> None:
    result = ran(tmp_path, *command.split(), slow=(*_SLOW, "scipy", "pandas", "numpy"))
    assert (result.returncode, result.stderr) == (0, "")


def test_a_report_imports_no_more_than_its_tables_need(tmp_path: Path) -> None:
    profile = Path(__file__).parents[1] / "fixtures" / "version_one" / "profile.json"
    result = ran(tmp_path, "report", str(profile), slow=(*_SLOW, "scipy.stats"))
    assert (result.returncode, result.stderr) == (0, "")


def test_the_test_notices_an_import(tmp_path: Path) -> None:
    result = ran(tmp_path, "recipes", slow=("yaml",))
    assert (result.returncode, result.stderr) == (1, "imported ['yaml']\n")

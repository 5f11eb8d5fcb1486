"""Folders of runs: what a user has there is kept, whatever the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import error_of, run


@pytest.mark.parametrize(
    "files",
    [
        {".owner": "me"},
        {".lock": "precious"},
        {".owner": "process 1 on here\nand my notes", ".lock": ""},
        {".writing-thesis.tex": "ten years"},
        {".writing-config.yaml": "my config"},
    ],
)
@pytest.mark.parametrize("model", ["test_resnet", "nonsense"])
def test_no_run_begins_beside_files_that_are_called_like_its_own(
    here: Path, model: str, files: dict[str, str]
) -> None:
    Path("u").mkdir()
    for name, text in files.items():
        (Path("u") / name).write_text(text)
    assert "it exists, and holds no run" in error_of(f"train {model} --data digits --config digits -o u")


def test_a_run_that_is_refused_takes_its_own_files_with_it(here: Path) -> None:
    error_of("train nonsense --data digits --config digits -o new/run")
    Path("u").mkdir()
    error_of("train nonsense --data digits --config digits -o u")
    Path("u/.owner").write_text("process 4194305 on a.host")
    Path("u/.lock").touch()
    Path("u/.writing-config.yaml").write_text("model: timm/test_res")
    result = run("train nonsense --data digits --config digits -o u")
    assert result.exit_code == 1
    assert "nonsense" in result.stderr

"""The README's commands that need extras run."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hmhsa_insert.commands import app

pytestmark = pytest.mark.libs
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ultralytics", "transformers", "segmentation_models_pytorch"):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```sh extras\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    commands = [
        shlex.split(line, comments=True)[1:] for block in blocks for line in block.splitlines() if line
    ]
    assert len(commands) >= 3
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, (command, result.output)

"""The blocks of the pages that need extras run."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_runs import RUNNERS, commands_of
from snippets import pages, snippets

pytestmark = pytest.mark.libs


def test_the_commands_run(page_folder: Path) -> None:
    for name in ("ultralytics", "transformers", "segmentation_models_pytorch"):
        pytest.importorskip(name)
    found = [
        each
        for page in pages()
        for each in snippets(page)
        if each.language == "sh" and "extras" in each.marks
    ]
    commands = [words for each in found for words in commands_of(each)]
    assert len(commands) >= 5
    for words in commands:
        RUNNERS[words[0]](words)

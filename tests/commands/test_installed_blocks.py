"""Blocks that installed packages publish: found by name, loaded when they are used, and named where they are broken."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from command_line import error_of, output
from torch import Tensor, nn

from hmhsa_insert.blocks import BLOCKS, BlockCost, BlockType, block_names, block_type
from hmhsa_insert.blocks import installed as packages
from hmhsa_insert.errors import BlockError


class Gate(nn.Module):
    """Scale every channel.

    Args:
        ratio: hidden channels over channels.
    """

    def __init__(self, channels: int, ratio: float = 0.5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled map."""
        return x * self.conv(x).sigmoid()


class Nothing(nn.Module):
    pass


def entry(name: str, value: str) -> Any:
    return packages.InstalledBlock(name, "gates 1.2", EntryPoint(name, value, packages.GROUP))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch):
    """Let packages publish `entries`."""

    def publish(*entries: Any) -> None:
        for module in (
            packages,
            sys.modules["hmhsa_insert.blocks.table"],
            sys.modules["hmhsa_insert.blocks"],
        ):
            monkeypatch.setattr(module, "installed_blocks", lambda: entries)
        packages.installed_block.cache_clear()

    yield publish
    packages.installed_block.cache_clear()


def test_a_package_publishes_a_block(here, published) -> None:
    published(entry("far", f"{__name__}:Gate"))
    assert "far" in block_names()
    (here / "far.yaml").write_text(RECIPE)
    assert "far after" in output("plan usernet:small -r far.yaml --input-size 64")
    (here / "wrong.yaml").write_text(RECIPE.replace("ratio", "ratoi"))
    assert "did you mean 'ratio'?" in error_of("plan usernet:small -r wrong.yaml --input-size 64")
    with pytest.raises(BlockError, match="no block type 'fra'") as error:
        block_type("fra")
    assert "'far'" in error.value.problems[0].tip


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_package:Gate", "ModuleNotFoundError"),
        (f"{__name__}:Missing", "AttributeError"),
        (f"{__name__}:Nothing", "has no parameter 'channels'"),
        (f"{__name__}:WRONG", "its name is 'other'"),
    ],
)
def test_a_broken_package_is_named_and_breaks_nothing_else(published, value, reason) -> None:
    published(entry("far", value))
    assert block_type("hmhsa").name == "hmhsa"
    with pytest.raises(
        BlockError, match=r"the block 'far' of the package gates 1\.2 cannot be loaded: "
    ) as error:
        block_type("far")
    assert reason in str(error.value)


def test_two_packages_of_one_name_are_both_named(published) -> None:
    published(entry("far", f"{__name__}:Gate"), entry("far", f"{__name__}:Gate"))
    with pytest.raises(BlockError, match=r"gates 1.2 and gates 1.2 both publish a block 'far'"):
        block_type("far")


def test_installed_packages_are_listed_without_being_imported(published) -> None:
    published(entry("far", f"{__name__}:Gate"), entry("hmhsa", "x:Y"), entry("lost", "no_such_package:Gate"))
    text = " ".join(output("blocks").split())
    assert "far Scale every channel. (gates 1.2)" in text
    assert "hmhsa hidden by the block type of this name above (gates 1.2)" in text
    assert "lost the block 'lost' of the package gates 1.2 cannot be loaded: ModuleNotFoundError" in text
    assert "ratio 0.5 hidden channels over channels." in " ".join(output("blocks far").split())


WRONG = BlockType(
    "other", "", BLOCKS["silu"].options, lambda *_: nn.SiLU(), lambda *_: BlockCost(0, 0), "any"
)

RECIPE = """\
version: 1
edits:
  - op: insert
    id: far
    at: {class: ReLU}
    block: {type: far, ratio: 0.25}
"""

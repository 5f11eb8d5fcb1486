"""``hmhsa-insert export``: what it prints, and that whatever goes wrong is said in one line and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import listing, output, run


def refused(line: str) -> str:
    """Return what is said of a line that fails, without a traceback and with nothing left behind."""
    before = listing(Path.cwd())
    result = run(line)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert isinstance(result.exception, SystemExit)
    assert listing(Path.cwd()) == before
    return result.stderr


def test_an_artifact_becomes_a_program_of_any_size(artifacts: Path) -> None:
    before = set(listing(artifacts))
    said = run("export mine --base usernet:small --to pt2 --dynamic batch,size --size 48..100")
    assert said.exit_code == 0, said.output
    assert "input 3×64×64, free: batch, size; height and width 48 to 100" in said.stdout
    assert "wrote mine.pt2 (pt2, " in said.stdout
    assert set(listing(artifacts)) - before == {"mine.pt2"}
    loaded = torch.export.load("mine.pt2").module()
    assert loaded(torch.randn(3, 3, 48, 99)).shape == (3, 5)


def test_a_network_is_named_by_the_file(here: Path) -> None:
    said = output("export usernet:small --input-size 64 -o net.pt --dynamic none")
    assert "input 3×64×64, free: nothing" in said
    assert torch.jit.load("net.pt")(torch.zeros(1, 3, 64, 64)).shape == (1, 5)
    said = refused("export usernet:small --input-size 64 -o net.pt")
    assert "net.pt: a file is here already" in said
    assert "--overwrite" in said
    output("export usernet:small --input-size 64 -o net.pt --dynamic none --overwrite")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("export usernet:small --to onx", "to: there is no format 'onx'"),
        ("export resnet19 --to pt2", "resnet19: neither timm nor torchvision has a network of this name"),
        ("export nowhere/at/all --to pt2", "there is no such folder"),
        ("export usernet:small -o folder", "folder: this is a folder"),
        ("export usernet:small -o missing/net.pt2", "missing/net.pt2: there is no folder 'missing'"),
        ("export usernet:small --to pt2 --opset 18", "opset: torch.export has no opsets"),
        ("export usernet:small --to pt2 --dynamic height", "dynamic: there is no axis 'height'"),
        ("export usernet:small --to pt2 --size 32..64", "size: a range of sizes is for files of any size"),
        (
            "export usernet:small --to pt2 --dynamic size --size 32..64 --input-size 128",
            "size: 128, the size that is traced, is not in it: 32 to 64",
        ),
        ("export usernet:broken --to pt2", "no luck"),
    ],
)
def test_bad_input_is_said_and_leaves_nothing(line: str, said: str, here: Path) -> None:
    Path("folder").mkdir()
    assert said in refused(line)

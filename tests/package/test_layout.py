"""The layout that CONTRIBUTING.md tells is the one that there is, in the order of the import layers."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def rows() -> list[list[str]]:
    """Return the names in the first cell of each row, without what tells folders."""
    table = (
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Layout")[2].partition("## ")[0]
    )
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    return [
        [name.strip("/") for name in re.findall(r"`(.+?)`", cell)] for cell in cells if "hmhsa" not in cell
    ]


def test_every_folder_and_file_has_its_row() -> None:
    there = {path.name for path in (ROOT / "hmhsa_insert").iterdir() if not path.name.startswith("_")}
    named = [name for row in rows() for name in row]
    assert sorted(named) == sorted(there - {"py.typed"} | {"tasks/table.py"})


def test_rows_stand_in_the_order_of_the_layers() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [re.findall(r"hmhsa_insert\.([\w.]+)", layer) for layer in contracts[0]["layers"]]
    height = {name: -place for place, layer in enumerate(layers) for name in layer}
    height |= {"tasks": height["tasks.artifact"]}
    heights = [[height[name.removesuffix(".py").replace("/", ".")] for name in row] for row in rows()]
    lowest = [min(row) for row in heights]
    assert lowest == sorted(lowest)

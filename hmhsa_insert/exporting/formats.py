"""The table of formats. To add one: a file with a class derived from `Format`, and a row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hmhsa_insert.errors import ExportError, Problem, near
from hmhsa_insert.exporting.format import Format
from hmhsa_insert.exporting.onnx_file import Onnx
from hmhsa_insert.exporting.program import Program
from hmhsa_insert.exporting.torchscript import TorchScript

FORMATS: Mapping[str, Format] = {each.name: each for each in (Onnx(), Program(), TorchScript())}


def format_of(name: str | None, path: Path | None = None) -> Format:
    """Return the format of a name, else the one of a file's ending, else the first.

    Raises:
        ExportError: there is no such format.
    """
    if name is None:
        ending = path.suffix if path is not None else ""
        return next(
            (each for each in FORMATS.values() if each.suffix == ending), next(iter(FORMATS.values()))
        )
    if name not in FORMATS:
        tip = near(name, FORMATS) or f"choose {', '.join(FORMATS)}"
        raise ExportError(Problem("to", f"there is no format '{name}'", tip))
    return FORMATS[name]

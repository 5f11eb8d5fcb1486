"""The table of formats. To add one: a file with a class derived from `Format`, and a row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hmhsa_insert.errors import Argument, ExportError, Problem, near
from hmhsa_insert.exporting.format import Format
from hmhsa_insert.exporting.onnx_file import Onnx
from hmhsa_insert.exporting.program import Program
from hmhsa_insert.exporting.torchscript import TorchScript

FORMATS: Mapping[str, Format] = {each.name: each for each in (Onnx(), Program(), TorchScript())}


def format_of(name: str | None, path: Path | None = None) -> Format:
    """Return the format of a name, else the one of a file's ending, else, of a name without ending, the first.

    Raises:
        ExportError: there is no such format.
    """
    if name is None:
        ending = path.suffix if path is not None else ""
        endings = {each.suffix: each for each in FORMATS.values()}
        if ending and ending not in endings:
            tip = f"endings: {', '.join(endings)}; or name the format as well"
            raise ExportError(Problem(str(path), "its ending names no format", tip))
        return endings[ending] if ending else next(iter(FORMATS.values()))
    if name not in FORMATS:
        tip = near(name, FORMATS) or f"choose {', '.join(FORMATS)}"
        raise ExportError(Problem(Argument("to"), f"there is no format '{name}'", tip))
    return FORMATS[name]

"""What a format is: how a file is made of a network, and how the file is run."""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from hmhsa_insert.errors import Argument, ExportError, Problem, first_line
from hmhsa_insert.exporting.asked import Asked
from hmhsa_insert.surgery.base.inputs import Args

Run = Callable[[Args], list[Tensor]]
# What torch could not decide, among graphs and advice: a restriction, a value, or what a trace ran into.
_REASONS = tuple(
    map(re.compile, (r"Not all values of.*", r"Could not (?:guard|extract)[^(]*", r"(?<=RuntimeError: ).*"))
)


class Format(ABC):
    """A kind of file.

    Attributes:
        name, suffix: what ``to`` takes, and the ending of its files.
        title: what messages call it.
        modules: packages that it needs, beyond this project's own.
        extra: the extra that installs them.
        takes_detectors: whether a file can hold what depends on the values in an image.
        tip: the nearest thing that works if a file does not agree with the network.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    title: ClassVar[str]
    modules: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    takes_detectors: ClassVar[bool] = False
    tip: ClassVar[str] = "another range with `size=RANGE` may do; one size, or any batch alone, does"

    @abstractmethod
    def make(self, model: nn.Module, asked: Asked) -> bytes:
        """Return the file's content; `model` is in eval mode. Whatever torch raises may come out."""

    @abstractmethod
    def open(self, path: Path) -> Run:
        """Return a function that runs the file on arguments and returns its output tensors."""

    def check(self, asked: Asked) -> None:
        """Refuse before any work what the format cannot do.

        Raises:
            ExportError: a package is missing, or an option is not for this format.
        """
        for module in self.modules:
            try:
                importlib.import_module(module)
            except ImportError as error:
                tip = f"pip install 'hmhsa-insert[{self.extra}]'"
                raise ExportError(Problem(self.title, f"needs the package {module}", tip)) from error
        self.check_opset(asked.opset)

    def check_opset(self, opset: int | None) -> None:
        """Refuse an opset that the format does not have."""
        if opset is not None:
            raise ExportError(Problem(Argument("opset"), f"{self.title} has no opsets", "they are for ONNX"))


def why(error: BaseException) -> str:
    """Return in one line why torch's exporter failed: its messages begin with graphs."""
    lines = [line.strip(" -\n") for line in str(error).splitlines() if line.strip()]
    for reason in _REASONS:
        found = next((match[0] for line in lines if (match := reason.search(line))), None)
        if found is not None:
            return found.strip()
    return lines[0] if lines and not lines[0].startswith("def ") else first_line(error)

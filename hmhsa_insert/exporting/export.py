"""``hi.export``: write a network for other programs, run the file, and keep it only if it agrees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.errors import Argument, ExportError, Problem
from hmhsa_insert.exporting.agreement import Compared, Expected, compared, expected
from hmhsa_insert.exporting.asked import AXES, BATCH, SIZE, Asked, asked_for
from hmhsa_insert.exporting.format import Format, why
from hmhsa_insert.exporting.formats import format_of
from hmhsa_insert.exporting.quiet import quiet
from hmhsa_insert.exporting.subject import Subject, subject
from hmhsa_insert.files.whole import check_place, write_file
from hmhsa_insert.printed import Printed
from hmhsa_insert.surgery.base.inputs import InputSize
from hmhsa_insert.tables import Table, left, right

Say = Callable[[str], None]


@dataclass(frozen=True, repr=False)
class Exported(Printed):
    """A file that was written, and what was found when it was run.

    Attributes:
        path: of the file.
        to: its format.
        asked: its inputs and free axes.
        compared: the file and the network, input by input.
    """

    path: Path
    to: str
    asked: Asked
    compared: tuple[Compared, ...]

    @property
    def difference(self) -> float:
        """The largest difference from eager on any input."""
        return max(each.difference for each in self.compared)

    def tables(self) -> Sequence[Table]:
        """Return one row per input that the file was run on."""
        nothing = "nothing was found, by the file either"
        rows = [
            (each.inputs, f"{each.difference:.1e}", f"{each.largest:.3g}", "" if each.numbers else nothing)
            for each in self.compared
        ]
        headers = [left("run on"), right("max |Δ|"), right("largest output"), left()]
        free = ", ".join(axis for axis in AXES if axis in self.asked.dynamic) or "nothing"
        sides = f"; height and width {self.asked.sides}" if self.asked.sides else ""
        title = f"{self.path.name}: {self.to}, largest difference from the network {self.difference:.1e}"
        return [Table.of(title, headers, rows, [f"input {self.asked.inputs}, free: {free}{sides}"])]


@reads_arguments
def export(
    model: nn.Module | str | Path,
    path: str | Path,
    to: str | None = None,
    *,
    dynamic: Iterable[str] | None = None,
    input_size: InputSize = None,
    size: str | Sequence[int] | None = None,
    opset: int | None = None,
    overwrite: bool = False,
    allow_code: bool = False,
    say: Say = lambda step: None,
) -> Exported:
    """Write a network as one file for other programs; it is run, and kept only if it computes the same.

    Args:
        model: a network or a detector, edited or not, which is copied and exported in eval mode on the CPU; a name
            that ``load_model`` takes; the folder of an artifact, a detector or a run. A detector takes one
            image C×H×W and gives boxes, labels, (masks,) scores.
        path: of the file.
        to: "onnx" (extra ``onnx``), "pt2" (the program of ``torch.export``) or "torchscript"; by default the one of
            the file's ending, else "onnx".
        dynamic: the axes that stay free: "batch", "size" (height and width), both or none. By default the batch;
            nothing of a detector.
        input_size: of the image that is traced: 96 for a square, ``(H, W)``, ``(C, H, W)``, or any other form of
            ``Inputs.of``; by default what the edit was planned with, or the network's library says.
        size: with free sizes, their range: ``"64..512"``, ``"64..512:32"`` for multiples of 32, or ``(64, 512)``;
            by default from half to twice the input's.
        opset: of an ONNX file.
        overwrite: replace a file.
        allow_code: run the factory that a folder names, if you trust it.
        say: called with each step of the work, which takes long.

    Returns:
        An object with the ``path``, the largest ``difference`` from eager, and what was ``compared``.

    Raises:
        ExportError: an option is wrong, a package is missing, torch cannot export the network, or the file does
            not agree with it within 1e-4. Nothing is left behind.
        ModelError, ArtifactError, WeightsError: there is no such network.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> model = hi.apply(timm.create_model("test_resnet"), "stage3.yaml", input_size=(3, 64, 64))
        >>> done = hi.export(model, "edited.pt2", dynamic=("batch", "size"), size="64..128")
        >>> done.difference < 1e-4, len(done.compared)
        (True, 6)
    """
    target = Path(path)
    kind = format_of(to, target)
    check_place(target, overwrite, ExportError)
    opened = subject(model, input_size, allow_code)
    asked = _asked(opened, kind, dynamic, size, opset)
    say("running the network")
    cases = expected(opened.model, asked)
    results: list[Compared] = []

    def write(writing: Path) -> None:
        say(f"exporting to {kind.title}: this may take minutes")
        writing.write_bytes(_made(opened.model, kind, asked))
        results.extend(_compare(kind, writing, cases, say))

    write_file(target, write, ExportError)
    return Exported(target, kind.name, asked, tuple(results))


def _asked(
    opened: Subject,
    kind: Format,
    dynamic: Iterable[str] | None,
    size: str | Sequence[int] | None,
    opset: int | None,
) -> Asked:
    default = () if opened.is_detector else (BATCH,)
    names = [dynamic] if isinstance(dynamic, str) else list(default if dynamic is None else dynamic)
    if opened.is_detector and set(names) & set(AXES):
        message = "a detector is exported for one image of one size: it scales every image itself"
        raise ExportError(
            Problem(Argument("dynamic"), message, "leave it out, and give the size with `input_size=SIZE`")
        )
    if opened.is_detector and not kind.takes_detectors:
        message = (
            "torch's exporter does not take torchvision's detectors: how many boxes are left is known only "
        )
        message += "when an image is there (batched_nms branches on it)"
        raise ExportError(Problem(kind.title, message, "`to='torchscript'` takes them"))
    asked = asked_for(opened.inputs, names, size, opset)
    kind.check(asked)
    return asked


def _made(model: nn.Module, kind: Format, asked: Asked) -> bytes:
    try:
        with torch.no_grad(), quiet():
            return kind.make(model, asked)
    except (ExportError, OSError):
        raise
    except Exception as error:  # whatever torch's exporters raise
        cause = (
            error.__cause__ if type(error).__module__.startswith("torch.onnx") and error.__cause__ else error
        )
        tip = kind.tip if SIZE in asked.dynamic else "another format may take it"
        if asked.dynamic == {BATCH}:
            tip = "one batch may do: `dynamic=()`"
        raise ExportError(Problem(kind.title, f"torch cannot export it: {why(cause)}", tip)) from error


def _compare(kind: Format, path: Path, cases: list[Expected], say: Say) -> list[Compared]:
    results = []
    for case, result in zip(cases, compared(kind, path, cases), strict=True):
        say(f"running the file: {case.named}")
        results.append(result)
    return results

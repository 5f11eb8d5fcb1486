"""The options that several commands share: one table, so that a name means the same wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import typer


@dataclass(frozen=True)
class OldSpelling:
    """How an option was called on one command before.

    Attributes:
        flag: as it was written.
        values: it is the old one only with these; empty: with any.
    """

    flag: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class SharedOption:
    """One option.

    Attributes:
        flags: the long name, and a short one if there is one.
        help: what it means; ``{}`` stands for what the command writes.
        metavar: what stands for its value; empty for a flag, and for what the command's own types say.
        old: command -> how it was called there before.
    """

    flags: tuple[str, ...]
    help: str
    metavar: str = ""
    old: Mapping[str, OldSpelling] = field(default_factory=dict)


_ROWS = (
    SharedOption(
        ("--base",),
        "Factory of the base network, for a folder whose network is not a library's.",
        "MODULE:FACTORY",
    ),
    SharedOption(
        ("--plugin",),
        "Import this Python module first; it may add block types and tasks. Repeatable.",
        "MODULE",
    ),
    SharedOption(
        ("--weights",),
        "Base weights, by the base network's own keys: .safetensors, or .pth without code.",
        "FILE",
        {"train": OldSpelling("--init-from")},
    ),
    SharedOption(
        ("--checkpoint",),
        "Which of a run's weights; default: best.",
        "best|last|ema",
        {"evaluate": OldSpelling("--weights", ("best", "last", "ema"))},
    ),
    SharedOption(("--pretrained",), "Download the library's weights, and begin with them."),
    SharedOption(
        ("--input-size",),
        "224, 320x480 (H×W) or 1x28x28 (C×H×W); default: the model's own, or that of the settings.",
        "SIZE",
        {"profile": OldSpelling("--size")},
    ),
    SharedOption(("--seed",), "Of everything that is drawn: the same seed, the same result.", "N"),
    SharedOption(
        ("--data",),
        "digits, mnist5k, an image folder or tar file, torch/NAME, hfds/NAME, wds/FOLDER; to detect or segment, a "
        "folder with COCO json, YOLO labels, VOC XML or CSV; semantic, images and masks. Default: a run's own; "
        "to train, digits.",
        "SOURCE",
    ),
    SharedOption(("--output", "-o"), "Write {} here."),
    SharedOption(("--overwrite",), "Replace what is there; of a folder, only what this command wrote."),
    SharedOption(("--json",), "Print JSON for programs."),
    SharedOption(("--quiet", "-q"), "Print results and errors alone: no progress, no notes."),
    SharedOption(("--allow-code",), "Import and run factories that files name; for files that you trust."),
    SharedOption(
        ("--unsafe-pickle",),
        "Read MODEL if it is a pickle (ultralytics/FILE.pt): it runs any code that its author put in.",
    ),
)

SHARED: dict[str, SharedOption] = {row.flags[0]: row for row in _ROWS}


def shared(flag: str, *, writes: str = "", more: str = "", metavar: str = "", **typed: Any) -> Any:
    """Return a row as typer takes it.

    Args:
        flag: the long name.
        writes: what the command writes, of ``--output``.
        more: what else is to be said of it on one command.
        metavar: of ``--output``: FILE or DIR.
        typed: limits of the value, as typer takes them.
    """
    row = SHARED[flag]
    said = " ".join(part for part in (row.help.format(writes), more) if part)
    return typer.Option(*row.flags, metavar=(metavar or row.metavar) or None, help=said, **typed)


def renamed(command: str, arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return a command's arguments with today's spellings, and a line for each that was an old one."""
    old = {
        spelling.flag: (row.flags[0], spelling.values)
        for row in _ROWS
        if (spelling := row.old.get(command)) is not None
    }
    found, said = list(arguments), []
    for place, text in enumerate(arguments):
        if text == "--":
            break
        flag, equals, value = text.partition("=")
        if flag not in old:
            continue
        new, values = old[flag]
        given = value if equals else next(iter(arguments[place + 1 : place + 2]), "")
        if not values or given in values:
            found[place] = f"{new}{equals}{value}"
            said.append(f"{flag}{f' {given}' if values else ''} is now {new}{f' {given}' if values else ''}")
    return found, said

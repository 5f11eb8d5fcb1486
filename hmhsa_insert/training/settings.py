"""Training settings from a file: found, read with places, checked as a whole, every problem reported at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from pydantic import ValidationError

from hmhsa_insert.errors import Argument, Problem
from hmhsa_insert.files.text import RECIPE, read_file
from hmhsa_insert.recipe.explain import explain
from hmhsa_insert.recipe.library import find_file, shipped_files
from hmhsa_insert.recipe.marks import UNREADABLE, Document, KeyPath
from hmhsa_insert.recipe.plain import read_mapping
from hmhsa_insert.recipe.scalars import shown
from hmhsa_insert.recipe.yaml_text import read_text
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.schema import ClassifySettings
from hmhsa_insert.training.settings_keys import settings_keys

S = TypeVar("S", bound=RunSettings)


@overload
def load_settings(
    source: str | Path | Mapping[str, Any] | Document, overrides: Sequence[str] = ()
) -> ClassifySettings: ...
@overload
def load_settings(
    source: str | Path | Mapping[str, Any] | Document, overrides: Sequence[str] = (), *, kind: type[S]
) -> S: ...
def load_settings(
    source: str | Path | Mapping[str, Any] | Document,
    overrides: Sequence[str] = (),
    *,
    kind: type[RunSettings] = ClassifySettings,
) -> RunSettings:
    """Read training settings.

    Args:
        source: a path, the name of a shipped file, a dict, or what was read from one already.
        overrides: ``key=value`` or ``section.key=value``, values as in YAML; they win over the file.
        kind: of settings: a task's own.

    Raises:
        SettingsError: it is not found, cannot be read, or holds problems: all of them, in file order.
    """
    document = source if isinstance(source, Document) else read_settings(source)
    values = document.value if isinstance(document.value, dict) else {}
    if not isinstance(document.value, dict) and document.value is not UNREADABLE:
        document.findings.add(
            (), f"settings are a mapping with 'epochs' and more, found {shown(document.value)}"
        )
    from_options: list[tuple[KeyPath, Any]] = []
    option_problems: list[Problem] = []
    for text in overrides:
        try:
            from_options.append(_override(text, kind))
        except SettingsError as error:
            option_problems += error.problems
    for path, value in from_options:
        values = _merged(values, path, value)
    try:
        made: RunSettings | None = kind.model_validate(values)
    except ValidationError as error:
        made = None
        for found in explain(error, kind, "the settings"):
            option = _option_at(found.path, [path for path, _ in from_options], document.value)
            if option is None:
                document.findings.add(found.path, found.message, found.tip, key=found.key)
            else:
                place = Argument(f"overrides {'.'.join(map(str, option))}")
                option_problems.append(Problem(place, found.message, found.tip))
    if made is not None and document.value is not UNREADABLE:
        for path, message, tip in made.contradictions():
            document.findings.add(path, message, tip)
    problems = document.findings.problems() + option_problems
    if problems or made is None:
        raise SettingsError(problems)
    return made


def _option_at(place: KeyPath, options: Sequence[KeyPath], in_file: Any) -> KeyPath | None:
    """Return the option that a problem is of; None where it is the file's.

    An unknown section that an option names is in no file, and its path is shorter than the option's.
    """
    from_file = not isinstance(in_file, dict) or not place or place[0] in in_file
    for path in options:
        if place[: len(path)] == path or (not from_file and place == path[: len(place)]):
            return path
    return None


def size_setting(size: int | Sequence[int] | None, task: str, kind: type[RunSettings]) -> list[str]:
    """Return the override that says the size of the images; none where no size is given.

    Args:
        size: the side of a square; or a list of it, or of its two sides.
        task: its name, for the error.
        kind: of settings: the task's own.

    Raises:
        SettingsError: it is not a square, or the task has no such setting.
    """
    if size is None:
        return []
    if "input_size" not in kind.model_fields:
        tip = "the size of a detector's images: `overrides=['detector.min_size=…', 'detector.max_size=…']`"
        raise SettingsError(Problem(Argument("input_size"), f"the task '{task}' does not use it", tip))
    sides = [size] if isinstance(size, int) else list(size)
    if len(sides) not in (1, 2) or sides[0] != sides[-1] or sides[0] < 1:
        given = "×".join(map(str, sides))
        message = f"'{given}': images are cut to squares, and their channels are those of the data"
        raise SettingsError(Problem(Argument("input_size"), message, "write one number, such as 224"))
    return [f"input_size={sides[0]}"]


def shipped_settings() -> dict[str, Path]:
    """Return the shipped files by name, without ``.yaml``."""
    return shipped_files("training")


def read_settings(source: str | Path | Mapping[str, Any]) -> Document:
    """Read settings without checking them; arguments and errors as :func:`load_settings`."""
    if isinstance(source, Mapping):
        return read_mapping(source, "settings")
    path = find_file(source, "training", "settings file", SettingsError)
    document = read_text(read_file(path, SettingsError, RECIPE), str(path))
    if document.value is None:
        raise SettingsError(
            Problem(str(path), "the file is empty", f"shipped: {', '.join(shipped_settings())}")
        )
    return document


def _override(text: str, kind: type[RunSettings]) -> tuple[KeyPath, Any]:
    """Return key and value of ``KEY=VALUE``; a section's name may be left out where no other has the key."""
    key, equals, value = text.partition("=")
    parts = tuple(key.strip().split("."))
    if len(parts) == 1 and parts[0] not in kind.model_fields:
        found = [each for each in settings_keys(kind) if each.key.endswith(f".{parts[0]}")]
        if len(found) > 1:
            tip = f"write {' or '.join(f'{each.key}=…' for each in found)}"
            raise SettingsError(
                Problem(Argument(f"overrides {text}"), f"'{parts[0]}' is a key of several sections", tip)
            )
        parts = tuple(found[0].key.split(".")) if found else parts
    if not equals or not all(parts):
        raise SettingsError(
            Problem(
                Argument(f"overrides {text}"),
                "is not a setting",
                "write key=value, such as optimizer.lr=2e-3",
            )
        )
    document = read_text(f"value: {value}", f"overrides {text}")
    if problems := document.findings.problems():
        raise SettingsError(
            [Problem(Argument(f"overrides {text}"), problem.message, problem.tip) for problem in problems]
        )
    return parts, document.value["value"]


def _merged(values: Mapping[str, Any], path: KeyPath, value: Any) -> dict[str, Any]:
    """Return `values` with `value` at `path`."""
    key = str(path[0])
    if len(path) == 1:
        return {**values, key: value}
    inner = values.get(key)
    return {**values, key: _merged(inner if isinstance(inner, Mapping) else {}, path[1:], value)}

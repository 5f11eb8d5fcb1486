"""What makes two runs the same run: the configuration without what only says where and how fast."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hmhsa_insert.training.data.digests import covers_contents
from hmhsa_insert.training.run_schema import ADDED, OPERATIONAL

NAMES_FINGERPRINT, CLASS_NAMES = "names_fingerprint", "class_names"
_SAID_BY_FINGERPRINT = (f"data.{NAMES_FINGERPRINT}", f"data.{CLASS_NAMES}")


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes two runs the same run: the config without what only says where and how fast."""
    return {key: value for key, value in _flat(config, ()) if not _is_operational(key, value, config)}


def as_known_then(config: Mapping[str, Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what determines a run as the version that wrote `known` would have known its data: by names alone."""
    data = config["data"]
    then = str(known["data"].get("fingerprint"))
    if covers_contents(then) or not covers_contents(str(data["fingerprint"])):
        return config
    source = known["data"].get("source")
    same = source is not None and os.path.realpath(str(source)) == os.path.realpath(data["source"])
    named = {"fingerprint": data[NAMES_FINGERPRINT], "source": source if same else data["source"]}
    return {**config, "data": {**data, **named}}


def unknown_contents(known: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Return what to say of a run that knows its data by names alone; nothing of others."""
    if as_known_then(config, known) is config:
        return ""
    return (
        "this run is of an earlier version: it knows its data by names and classes, and whether the pictures "
        "are still the same ones cannot be told"
    )


def _is_operational(key: str, value: Any, config: Mapping[str, Any]) -> bool:
    """Return True for what says where and how fast, and for what another key says as well."""
    if key == "data.source":  # where it lies; of a library's own sets it is what they are
        return covers_contents(str(config["data"].get("fingerprint")))
    plain = key.removeprefix("settings.").partition("[")[0]
    return plain in OPERATIONAL or (plain in ADDED and value is None) or plain in _SAID_BY_FINGERPRINT


def _flat(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its path, as in ``recipe.edits[0].block.head_dim``."""
    items: Sequence[tuple[str, Any]] = ()
    if isinstance(value, Mapping):
        items = [(f".{key}", item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(f"[{index}]", item) for index, item in enumerate(value)]
    if items:
        for step, item in items:
            yield from _flat(item, (*path, step))
    else:
        yield "".join(path).removeprefix("."), value if not isinstance(value, list | tuple) else []

"""What determines a run, and what makes two runs the same run: all of it but what only says where and how fast."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hmhsa_insert.errors import Problem, WeightsError
from hmhsa_insert.training.data.digests import covers_contents
from hmhsa_insert.training.run_schema import ADDED, OPERATIONAL

# More classes are not written by name, since every reader of a run's configuration would wait for them: those are
# matched by their order.
_MOST_NAMED = 40_000
NAMES_FINGERPRINT, CLASS_NAMES = "names_fingerprint", "class_names"
_SAID_BY_FINGERPRINT = (f"data.{NAMES_FINGERPRINT}", f"data.{CLASS_NAMES}")


def config_of(run: Any) -> dict[str, Any]:
    """Return what determines a run of any :class:`~hmhsa_insert.training.task.Task`, as plain data."""
    model = run.model if isinstance(run.model, str) else _described(run.model)
    classes, data = run.data.num_classes, run.data
    settings = run.settings.model_dump(mode="json")
    if settings["epoch_steps"] is None:  # runs of earlier versions are written as they were
        del settings["epoch_steps"]
    return {
        "model": model,
        "recipe": dict(run.recipe) if run.recipe is not None else None,
        "data": {
            "source": data.source,
            "fingerprint": data.fingerprint,
            "train": len(data.train),
            "val": len(data.val),
            "classes": classes,
            "channels": data.channels,
            NAMES_FINGERPRINT: data.names_fingerprint,
            CLASS_NAMES: list(data.classes) if classes <= _MOST_NAMED else None,
        },
        "seed": run.seed,
        "init_from": _file_digest(run.init_from) if run.init_from else None,
        "pretrained": run.pretrained,
        "settings": settings,
    }


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
        "are still the same ones is not known"
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


def _described(model: nn.Module) -> str:
    """Return a network's class and a digest of its weights: another network is another run."""
    digest = hashlib.sha256()
    for key, tensor in model.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"{type(model).__name__} {digest.hexdigest()[:16]}"


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    except OSError as error:
        raise WeightsError(Problem(str(path), f"cannot be read: {error.strerror or error}")) from error

"""What a report says of a run beside its configuration: which settings are not the shipped ones, and its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from hmhsa_insert.training.network import TrainableModel
from hmhsa_insert.training.problems import SettingsError
from hmhsa_insert.training.run_schema import RunSettings
from hmhsa_insert.training.settings import load_settings, shipped_settings

_DIGITS = 16


def provenance(settings: RunSettings, network: TrainableModel) -> dict[str, Any]:
    """Return ``settings`` (the shipped ones that are nearest, and what differs) and ``weights`` (a digest, or None).

    Args:
        settings: of the run.
        network: as it was built, before its first update.
    """
    # Without what begins to learn now, such as a new head, whose values are the seed's.
    weights = digest(network.base, network.fresh) if network.has_weights else None
    return {"settings": nearest(settings), "weights": weights}


def nearest(settings: RunSettings) -> dict[str, Any] | None:
    """Return the name of the shipped settings that fewest values differ from, and these values, nested as in a file.

    None where no shipped settings are of this task.
    """
    own = settings.model_dump(mode="json")
    found = []
    for name, path in shipped_settings().items():
        try:
            shipped = load_settings(path, kind=type(settings)).model_dump(mode="json")
        except SettingsError:
            continue  # of another task
        found.append((len(list(_leaves(differ := _differences(own, shipped)))), name, differ))
    if not found:
        return None
    _, name, differ = min(found, key=lambda each: each[:2])
    return {"shipped": name, "differ": differ}


def digest(model: nn.Module, without: Collection[str] = ()) -> str:
    """Return the start of a SHA-256 of a network's state dict: keys, types, shapes and bytes, in its order.

    Args:
        model: the network.
        without: keys to leave out.
    """
    found = hashlib.sha256()
    for key, tensor in model.state_dict().items():
        if key in without:
            continue
        found.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:_DIGITS]


def _differences(own: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in own.items():
        there = other.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            inner = _differences(value, there)
            if inner:
                found[key] = inner
        elif value != there:
            found[key] = value
    return found


def _leaves(values: Mapping[str, Any]) -> Iterator[Any]:
    for value in values.values():
        if isinstance(value, dict):
            yield from _leaves(value)
        else:
            yield value

"""The weights of an artifact: every tensor once; those of removed modules in a second file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from hmhsa_insert.errors import ModelError, Problem, WeightsError, listed
from hmhsa_insert.models import read_state_dict
from hmhsa_insert.surgery.artifact.manifest import DISPLACED, WEIGHTS
from hmhsa_insert.surgery.edit.splice import Ledger
from hmhsa_insert.surgery.edit.undo import displaced_state

T = TypeVar("T")


@dataclass(frozen=True)
class Tensors:
    """The tensors of a model that are written.

    Attributes:
        state: its tensors by key, tied ones once.
        displaced: those of removed modules, by the number of the edit and their old key.
        aliases: for keys of tied tensors, the key under which each is written.
        channels_last: True if weights are in that memory format, in which convolutions round differently.
    """

    state: dict[str, torch.Tensor]
    displaced: dict[str, torch.Tensor]
    aliases: dict[str, str]
    channels_last: bool

    def write(self, target: Path) -> None:
        """Write the files into a folder; raises OSError if writing fails."""
        _save_tensors(self.state, target / WEIGHTS)
        if self.displaced:
            _save_tensors(self.displaced, target / DISPLACED)


def gather(model: nn.Module, done: Sequence[Ledger]) -> Tensors:
    """Return the tensors to write of `model`, whose edits are `done`.

    Raises:
        ModelError: a part of its state is not a tensor, or has no data.
    """
    state, aliases = _without_aliases(_tensors(model))
    displaced, displaced_aliases = _without_aliases(_displaced(done))
    return Tensors(state, displaced, {**aliases, **displaced_aliases}, _is_channels_last(model))


def fill(model: nn.Module, done: Sequence[Ledger], target: Path, aliases: Mapping[str, str]) -> None:
    """Load the tensors of its folder into a rebuilt model, tied ones under both names.

    Raises:
        WeightsError: they are missing, corrupt, or of another model.
    """
    _copy(_read(target / WEIGHTS, aliases), _own_state(model), target / WEIGHTS)
    displaced = _displaced(done, keep_vars=True)
    if displaced:
        _copy(_read(target / DISPLACED, aliases), displaced, target / DISPLACED)


def _own_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the parameters and persistent buffers themselves; a user's ``state_dict`` may return others."""
    state: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    for name, module in model.named_modules(remove_duplicate=False):
        for key, buffer in module._buffers.items():
            if buffer is not None and key not in module._non_persistent_buffers_set:
                state[f"{name}.{key}".lstrip(".")] = buffer
    return state


def check_fit(hollow: nn.Module, done: Sequence[Ledger], target: Path, aliases: Mapping[str, str]) -> None:
    """Compare a model on the meta device with the shapes in a folder's files, before either takes memory.

    The record of a folder may ask for any amount of memory; its weights cannot be larger than their files.

    Raises:
        WeightsError: they are missing, corrupt, or of another model.
    """
    _refuse_misfits(shapes_of(target / WEIGHTS, aliases), _shapes(_own_state(hollow)), target / WEIGHTS)
    displaced = _displaced(done)
    if displaced:
        _refuse_misfits(shapes_of(target / DISPLACED, aliases), _shapes(displaced), target / DISPLACED)


def check_sizes(asked: Mapping[str, object], path: Path, target: Path) -> None:
    """Refuse more classes or channels than any tensor has; not all networks can be built on the meta device.

    Args:
        asked: arguments for the factory of the base network, from file `path`.
        path: of that file.
        target: the folder with the weights.

    Raises:
        WeightsError: they are missing, corrupt, or smaller.
    """
    files = [
        file for file in (target / WEIGHTS, target / DISPLACED) if file == target / WEIGHTS or file.is_file()
    ]
    most = max(
        (side for file in files for shape in shapes_of(file, {}).values() for side in shape), default=0
    )
    for key in ("num_classes", "in_chans", "nc", "ch", "classes", "in_channels"):
        count = asked.get(key)
        if isinstance(count, int | float) and count > most:
            message = f"it asks for {key} {count}, and no side of a tensor in the folder is that long"
            raise WeightsError(Problem(str(path), message, "the folder's files are not of one artifact"))


def shapes_of(path: Path, aliases: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a file's tensors by their keys, tied ones by both, from its header alone.

    Raises:
        WeightsError: it is missing or corrupt.
    """
    if not path.is_file():
        raise WeightsError(Problem(str(path), "is a folder" if path.is_dir() else "there is no such file"))
    try:
        with safe_open(path, "pt") as file:
            found = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            Problem(str(path), f"is damaged, or is not a safetensors file: {error}")
        ) from error
    return _with_aliases(found, aliases, path)


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    state = {key: tensor.detach() for key, tensor in _own_state(model).items()}
    stated = model.state_dict()
    other = next((key for key, value in stated.items() if not isinstance(value, torch.Tensor)), None)
    if other is not None:
        raise ModelError(Problem(other, "this part of the model's state is not a tensor and cannot be saved"))
    if any(tensor.is_meta for tensor in state.values()):
        message = "its weights are on the meta device: there is nothing to save"
        raise ModelError(Problem(type(model).__name__, message))
    return state


def _displaced(done: Sequence[Ledger], keep_vars: bool = False) -> dict[str, torch.Tensor]:
    """Return the tensors of what was taken away, keyed by the number of the edit and their old name."""
    return {
        f"{i}:{key}": tensor
        for i, ledger in enumerate(done)
        for key, tensor in displaced_state(ledger.changes, keep_vars)
    }


def _save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    try:
        safetensors.torch.save_file(tensors, path, {"format": "pt"})
    except SafetensorError as error:  # raised for a full disk
        raise OSError(str(error).rpartition("I/O error: ")[2]) from error


def _is_channels_last(model: nn.Module) -> bool:
    """Return True if weights are in channels_last, in which convolutions round differently."""
    return any(
        p.ndim == 4 and not p.is_contiguous() and p.is_contiguous(memory_format=torch.channels_last)
        for p in model.parameters()
    )


def _read(path: Path, aliases: Mapping[str, str]) -> dict[str, torch.Tensor]:
    return _with_aliases(read_state_dict(path), aliases, path)


def _with_aliases(found: Mapping[str, T], aliases: Mapping[str, str], path: Path) -> dict[str, T]:
    """Return the tensors of a file, tied ones under both keys."""
    twice = sorted(aliases.keys() & found.keys())
    if twice:
        raise WeightsError(
            Problem(str(path), f"it holds '{twice[0]}', which is listed as tied to another tensor")
        )
    return {**found, **{alias: found[key] for alias, key in aliases.items() if key in found}}


def _refuse_misfits(
    state: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    wrong = [key for key in wanted if state.get(key) != wanted[key]] + [
        key for key in state if key not in wanted
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        message = f"{len(wrong)} tensors do not fit the network: {listed(wrong[:5])}{more}"
        there, here = (each.get(wrong[0]) for each in (state, wanted))
        if there is not None and here is not None:
            message += f"; '{wrong[0]}' is {_said(there)}, and {_said(here)} is needed"
        raise WeightsError(Problem(str(path), message, "the folder's files are not of one artifact"))


def _said(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "one number"


def _copy(state: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], path: Path) -> None:
    _refuse_misfits(_shapes(state), _shapes(wanted), path)
    with torch.no_grad():
        for key, tensor in wanted.items():
            tensor.data = tensor.data.to(state[key].dtype)
            tensor.copy_(state[key])


def _without_aliases(state: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors to write, each storage once, and for the other keys the one that is written.

    Tied weights are one tensor under two keys, which safetensors refuses.
    """
    kept: dict[str, torch.Tensor] = {}
    seen: dict[tuple[Any, ...], str] = {}
    aliases: dict[str, str] = {}
    for key, tensor in state.items():
        identity = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and identity in seen:
            aliases[key] = seen[identity]
        else:
            seen[identity] = key
            kept[key] = tensor.detach().clone(memory_format=torch.contiguous_format)
    return kept, aliases

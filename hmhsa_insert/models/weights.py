"""Read checkpoints: the authors' released ones, timm's, torchvision's, or any state dict in a file."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.errors import Argument, Problem, WeightsError, near

Shape = tuple[int, ...]

# Keys under which training scripts save the state dict.
_CONTAINERS = ("state_dict", "model", "model_state_dict")

# HAT-Net's attention owns a norm that its forward never uses. We do not build it.
_UNUSED = re.compile(r"(^|\.)proj_norm\.(weight|bias)$")

_SHOWN = 4


@reads_arguments
def load_weights(model: nn.Module, path: str | Path, strict: bool = True) -> nn.Module:
    """Load a checkpoint into a model, in place.

    Args:
        model: any model. The authors' released checkpoints load into `transcnn_*` and `hat_net_*` without
            renaming.
        path: a ``.safetensors`` file, or a file written by ``torch.save`` (``.pth``, ``.pt``), which is read
            with ``weights_only=True``: no code in it is run. A state dict under ``"state_dict"`` or
            ``"model"`` is recognized, and so are keys of which none fits until the name of a wrapper is taken off
            all of them (``module.``, Lightning's ``model.``, ``_orig_mod.``).
        strict: refuse missing and unexpected keys. Tensors of another shape or kind of number are always
            refused.

    Returns:
        The same model.

    Raises:
        WeightsError: the file cannot be read or does not fit; lists missing, unexpected and mismatched keys.
            The model is not changed.

    Example:
        >>> import timm, torch
        >>> import hmhsa_insert as hi
        >>> trained = timm.create_model("test_resnet", num_classes=10)
        >>> torch.save(trained.state_dict(), "trained.pth")
        >>> model = hi.load_weights(timm.create_model("test_resnet", num_classes=10), "trained.pth")
        >>> torch.equal(model.fc.weight, trained.fc.weight)
        True
    """
    state, wanted = read_state_dict(path), model.state_dict()
    state = _without_wrapper(state, wanted)
    state = {key: value for key, value in state.items() if key in wanted or not _UNUSED.search(key)}
    problems = _mismatches(wanted, state, str(path), strict)
    if problems:
        raise WeightsError(problems)
    model.load_state_dict(state, strict=strict)
    return model


def check_start(weights: str | Path | None, pretrained: bool) -> None:
    """Refuse two sets of weights to begin with.

    Raises:
        WeightsError: both are asked for.
    """
    if pretrained and weights is not None:
        message, tip = "a network starts with one set of weights", "give it or `weights=FILE`"
        raise WeightsError(Problem(Argument("pretrained"), message, tip))


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint, on the CPU, by their keys.

    Takes the state dict out of the usual containers and ``module.`` prefixes. No code of the file is run: a pickle
    is read with ``weights_only=True``.

    Raises:
        WeightsError: there is no such file, it is damaged, holds code, or holds no tensors.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise WeightsError(
            Problem(str(path), "is a folder" if os.path.isdir(path) else "there is no such file")
        )
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    return _state_dict_of(content, path)


@contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """Yield a UTF-8 path to a file, which safetensors needs."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "weights.safetensors"
            link.symlink_to(path.absolute())
            yield link
    else:
        yield path


def read_shapes(path: Path) -> dict[str, Shape]:
    """Return the shapes of a safetensors file's tensors from its header alone, tied ones by all their keys.

    Raises:
        WeightsError: it is damaged.
    """
    try:
        with utf8_path(path) as name, safe_open(name, "pt") as file:
            found = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            tied = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            Problem(str(path), f"is damaged, or is not a safetensors file: {error}")
        ) from error
    return {**{key: found[kept] for key, kept in tied.items() if kept in found}, **found}


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        with utf8_path(path) as name:
            return load_file(name)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            Problem(str(path), f"is damaged, or is not a safetensors file: {error}")
        ) from error


def _read_pickle(path: Path) -> Any:
    try:
        # Training scripts in the style of DeiT save their arguments beside the weights; a namespace is plain data.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # torch warns of unusual pickles; whether one is read is said below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(_pickle_problem(path, str(error))) from error
    except Exception as error:  # a damaged archive fails in many ways
        first = str(error).strip().partition("\n")[0]
        reason = f": {first}" if " " in first else ""  # else it is a byte of the file
        raise WeightsError(Problem(str(path), f"is damaged, or is not a checkpoint{reason}")) from error


def _pickle_problem(path: Path, reason: str) -> Problem:
    """Return why a pickle is refused: it holds code, which is never run, or it cannot be read."""
    found = re.search(r"GLOBAL ([\w.]+) (was not an allowed|whose module)", reason)
    if found is None:
        return Problem(str(path), "is damaged, or is not a checkpoint")
    message = f"holds code ({found[1]}), which is not run"
    return Problem(str(path), message, "save the state dict alone, best as .safetensors")


def _state_dict_of(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """Find the state dict in the contents of a file."""
    inner = content
    while inner is not None:
        content = inner
        inside = (content.get(name) for name in _CONTAINERS) if isinstance(content, Mapping) else ()
        inner = next((value for value in inside if isinstance(value, Mapping)), None)
    if not isinstance(content, Mapping):
        raise WeightsError(Problem(str(path), f"holds no state dict: found {type(content).__name__}"))
    if not content or not all(isinstance(value, torch.Tensor) for value in content.values()):
        found = _first(sorted(map(str, content))) or "nothing"
        raise WeightsError(Problem(str(path), f"holds no state dict: found {found}"))
    state = {str(key): value for key, value in content.items()}
    while all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def _without_wrapper(
    state: dict[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return `state` by keys without the names that begin all of them, if none of its keys fits before that."""
    inner = state
    while inner and not inner.keys() & wanted.keys():
        if len({key.partition(".")[0] for key in inner}) > 1 or not all("." in key for key in inner):
            return state
        inner = {key.partition(".")[2]: value for key, value in inner.items()}
    return inner


def _mismatches(
    wanted: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], path: str, strict: bool
) -> list[Problem]:
    """Compare the model's keys, shapes and kinds of numbers with the file's."""
    kinds = [
        f"{key} ({_kind(given[key])}, the model has {_kind(wanted[key])})"
        for key in given
        if key in wanted and not _holds_like(wanted[key], given[key])
    ]
    problems = misfits(shapes_in(wanted), shapes_in(given), path, strict)
    if kinds:
        message = f"{_count(kinds)} of another kind of number: {_first(kinds)}"
        problems.append(Problem(path, message, "save plain dense tensors in floating point"))
    return problems


def shapes_in(state: Mapping[str, torch.Tensor]) -> dict[str, Shape]:
    """Return the shapes of tensors by their keys."""
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def misfits(
    wanted: Mapping[str, Shape], given: Mapping[str, Shape], path: str, strict: bool = True
) -> list[Problem]:
    """Return what in a file does not fit a model: missing or unexpected keys, and other shapes.

    Args:
        wanted: shapes of the model's tensors by their keys.
        given: of the file's.
        path: of the file.
        strict: whether missing and unexpected keys are problems.
    """
    missing = [key for key in wanted if key not in given] if strict else []
    unexpected = [key for key in given if key not in wanted] if strict else []
    shapes = [
        f"{key} ({_shape(given[key])}, the model has {_shape(wanted[key])})"
        for key in given
        if key in wanted and given[key] != wanted[key]
    ]
    problems = []
    if missing:
        message = f"{_count(missing)} of the model missing: {_first(missing)}"
        problems.append(Problem(path, message, near(missing[0], unexpected)))
    if unexpected:
        message = f"{_count(unexpected)} the model does not have: {_first(unexpected)}"
        problems.append(Problem(path, message, near(unexpected[0], missing)))
    if shapes:
        problems.append(Problem(path, f"{_count(shapes)} of another shape: {_first(shapes)}"))
    return problems


def _holds_like(wanted: torch.Tensor, given: torch.Tensor) -> bool:
    """Return True if copying `given` keeps its numbers; a copy would convert integers to floats silently."""
    dense = given.layout == torch.strided and not given.is_meta and not given.is_quantized
    narrows = wanted.is_floating_point() and not given.is_floating_point()
    return dense and not narrows and wanted.is_complex() >= given.is_complex()


def _kind(tensor: torch.Tensor) -> str:
    layout = "" if tensor.layout == torch.strided else f"{tensor.layout} ".removeprefix("torch.")
    return f"{layout}{'meta ' if tensor.is_meta else ''}{tensor.dtype}".replace("torch.", "")


def _count(keys: list[str]) -> str:
    return "1 key" if len(keys) == 1 else f"{len(keys)} keys"


def _first(keys: list[str]) -> str:
    more = f", and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more


def _shape(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "scalar"

"""The inputs of a network as a description, for tracing, planning, verifying, measuring and saving.

Everything that a user may give becomes :class:`Inputs`: a size ``(3, 224, 224)``, several sizes, a mapping of
keyword inputs, texts such as ``"timestep:int64"`` (see :mod:`.input`), or example tensors.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from hmhsa_insert.errors import ModelError, Problem
from hmhsa_insert.surgery.base.input import FORMS_TIP, Input, Size, parse_input

# Where a tensor stands in nested tuples, lists and mappings: indices and keys, outermost first; () is the whole value.
LeafPath: TypeAlias = tuple[int | str, ...]
# What users may give: a size, sizes, keyword inputs, texts, example tensors, in tuples, lists and mappings; or Inputs.
InputSize: TypeAlias = Any
Args: TypeAlias = tuple[list[Any], dict[str, Any]]

BATCH = 2  # one image would hide the batch axis from code that squeezes
_CONSTANTS = (bool, int, float, type(None))
_MOST_BATCH, _DEEPEST = 2**16, 16


@dataclass(frozen=True)
class Inputs:
    """A description of the arguments of one forward pass: the size and dtype of each tensor, no values.

    Every function that takes `input_size` or `inputs` also takes one of these. :meth:`of` makes one from a
    size, a text or example tensors.

    Args:
        args: the positional arguments, each given as a size ``(C, H, W)``, a text such as
            ``"timestep:int64<1000"`` (an integer below 1000 for each sample), an example tensor N×…, a
            constant, or a tuple, list or dict of these.
        kwargs: the keyword arguments, in the same forms.
        batch: the only batch size N that the model takes; None if it takes any. Taken from example tensors
            whose first axis is longer than 1.

    Raises:
        ModelError: an argument cannot be described, or `batch` is not an integer from 1 to 65536.

    Example:
        >>> import torch
        >>> import hmhsa_insert as hi
        >>> print(hi.Inputs([(3, 64, 64), "int64<1000"]))
        3×64×64, int64<1000
        >>> print(hi.Inputs.of({"image": (3, 64, 64)}))
        image:3×64×64
        >>> print(hi.Inputs.of(torch.zeros(4, 3, 32, 32)))
        3×32×32:float32 in batches of 4
    """

    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    batch: int | None = None

    def __post_init__(self) -> None:
        alone = isinstance(self.args, Tensor | str | Input) or (self.args and _is_size(self.args))
        given: tuple[Any, Any] = ((self.args,) if alone else tuple(self.args), dict(self.kwargs))
        examples = [tensor for _, tensor in tensors_in(given) if tensor.ndim]
        first = next((t for t in examples if t.ndim >= 3), examples[0] if examples else None)
        length = first.shape[0] if first is not None else 0
        batch = length if self.batch is None and length > 1 else self.batch
        if batch is not None and (type(batch) is not int or not 0 < batch <= _MOST_BATCH):
            raise ModelError(Problem("input", f"{batch!r} is not a batch size", "give an integer from 1"))
        args, kwargs = _described(given, length)
        named = {name for name in kwargs if not isinstance(name, str)}
        if named:
            raise ModelError(Problem("input", f"{named.pop()!r} is not a name for an input", FORMS_TIP))
        object.__setattr__(self, "args", args)
        object.__setattr__(self, "kwargs", kwargs)
        object.__setattr__(self, "batch", batch)

    @classmethod
    def of(cls, given: InputSize, batch: int | None = None) -> Inputs:
        """Make a description from any of the forms that users may give.

        Args:
            given: ``(C, H, W)``, a tensor or a text for a single input; a sequence of these for several
                positional inputs, in which a text with a name (``"timestep:int64"``) becomes a keyword input;
                a mapping for keyword inputs. Tuples, lists and mappings nested in these are single arguments.
            batch: the only batch size that the model takes; by default that of example tensors if it is not
                1.

        Raises:
            ModelError: `given` describes no inputs.
        """
        if isinstance(given, Inputs):
            return given if batch is None else replace(given, batch=batch)
        if isinstance(given, Mapping):
            return cls((), given, batch)
        if isinstance(given, Tensor | str | Input) or _is_size(given):
            given = [given]
        if not isinstance(given, Sequence) or isinstance(given, bytes) or not given:
            raise ModelError(Problem("input", f"no input is described by {given!r}", FORMS_TIP))
        args, kwargs = [], {}
        for item in given:
            name, made = parse_input(item) if isinstance(item, str) else (None, item)
            if name is None:
                args.append(made)
            else:
                kwargs[name] = made
        return cls(args, kwargs, batch)

    @property
    def leaves(self) -> list[Input]:
        """The inputs in order, one for each tensor."""
        found: list[Input] = []
        _map((self.args, self.kwargs), found.append)
        return found

    @property
    def image(self) -> Input | None:
        """The first input with height and width: at least three axes beside the batch's."""
        return next((leaf for leaf in self.leaves if _has_image(leaf)), None)

    @property
    def image_size(self) -> tuple[int, int, int]:
        """C, H, W of one image for tables: its last three axes, with 1 for axes that it does not have."""
        image = self.image or next(iter(self.leaves), Input())
        channels, *sides = image.size[-3:] or (1,)
        return (channels, *([1] * (2 - len(sides))), *sides)  # type: ignore[return-value]

    @property
    def has_examples(self) -> bool:
        """True if example tensors were given."""
        return any(leaf.example is not None for leaf in self.leaves)

    def resized(self, change: Callable[[int, int], tuple[int, int]]) -> Inputs:
        """Return these inputs with height and width of every image changed; other inputs as they are."""
        return self._with_images(lambda size: (*size[:-2], *change(*size[-2:])))

    def recolored(self, channels: int) -> Inputs:
        """Return these inputs with other channels of every image; other inputs as they are."""
        return self._with_images(lambda size: (*size[:-3], channels, *size[-2:]))

    def _with_images(self, change: Callable[[Size], Size]) -> Inputs:
        def changed(leaf: Input) -> Input:
            return replace(leaf, size=change(leaf.size), example=None) if _has_image(leaf) else leaf

        return self._mapped(changed)

    def empty(self, dtype: torch.dtype, device: torch.device | str, batch: int = BATCH) -> Args:
        """Return uninitialized arguments; `dtype` is that of the weights, a fixed batch replaces `batch`."""
        return self._arguments(lambda leaf: leaf.empty(self.batch or batch, dtype, device))

    def drawn(self, dtype: torch.dtype, device: torch.device | str, batch: int = BATCH) -> Args:
        """Return the example tensors, or random arguments from torch's generator; else as :meth:`empty`."""
        return self._arguments(lambda leaf: leaf.drawn(self.batch or batch, dtype, device))

    def __str__(self) -> str:
        named = (f"{name}:{_shown(tree)}" for name, tree in self.kwargs.items())
        text = ", ".join((*map(_shown, self.args), *named))
        return f"{text} in batches of {self.batch}" if self.batch else text

    def to_data(self) -> Any:
        """Return JSON-able data: sizes alone if they suffice, else texts under ``*`` and ``**``."""
        leaves = (*self.args, *self.kwargs.values())
        plain = all(isinstance(leaf, Input) and leaf.is_plain for leaf in leaves)
        if plain and self.batch is None and not (self.args and self.kwargs):
            if self.kwargs:
                return {name: list(leaf.size) for name, leaf in self.kwargs.items()}
            sizes = [list(leaf.size) for leaf in self.args]
            return sizes[0] if len(sizes) == 1 and sizes[0] else sizes
        named = {name: _written(tree) for name, tree in self.kwargs.items()}
        data: dict[str, Any] = {"*": [_written(tree) for tree in self.args], "**": named}
        return data if self.batch is None else {**data, "batch": self.batch}

    @classmethod
    def from_data(cls, data: Any) -> Inputs:
        """Read what :meth:`to_data` wrote, in this or an older release.

        Raises:
            TypeError, KeyError, ValueError: `data` is not a description of inputs.
        """
        try:
            return cls._from_data(data)
        except ModelError as error:
            raise ValueError(str(error)) from error

    @classmethod
    def _from_data(cls, data: Any) -> Inputs:
        if isinstance(data, Mapping) and "*" in data:
            named = {str(name): _read(tree) for name, tree in data["**"].items()}
            return cls([_read(tree) for tree in data["*"]], named, data.get("batch"))
        if isinstance(data, Mapping):
            return cls((), {name: Input(tuple(size)) for name, size in data.items()})
        sizes = [data] if data and all(isinstance(n, int) for n in data) else data
        return cls([Input(tuple(size)) for size in sizes])

    def _mapped(self, change: Callable[[Input], Any]) -> Inputs:
        args, kwargs = _map((self.args, self.kwargs), change)
        return Inputs(args, kwargs, self.batch)

    def _arguments(self, make: Callable[[Input], Tensor]) -> Args:
        args, kwargs = _map((self.args, self.kwargs), make)
        return list(args), kwargs


def input_dtype(model: nn.Module) -> torch.dtype:
    """Return the dtype of the first floating-point parameter, float32 without one."""
    floating = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next(floating, torch.float32)


_NUMBERS = frozenset({type(None), bool, int, float, str})


def tensors_in(value: Any, path: LeafPath = ()) -> Iterator[tuple[LeafPath, Tensor]]:
    """Yield ``(path, tensor)`` for every tensor in nested tuples, lists, mappings and dataclasses."""
    if type(value) in _NUMBERS:  # first: nearly every argument is one or a tensor
        return
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors_in(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors_in(item, (*path, index))
    elif dataclasses.is_dataclass(value) and not isinstance(value, Input | type):
        for item_field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, item_field.name), (*path, item_field.name))


def _is_size(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(type(n) is int for n in value) and value != []


def _has_image(leaf: Input) -> bool:
    return leaf.batched and len(leaf.size) >= 3


def _described(value: Any, batch: int, depth: int = 0) -> Any:
    """Convert a tree of what users give to a tree of inputs; `batch` is the examples' batch size."""
    if isinstance(value, Tensor):
        return Input.like(value, batch)
    if isinstance(value, str):
        name, made = parse_input(value)
        if name is not None:
            raise ModelError(
                Problem("input", f"'{value}' has a name, but here inputs are identified by their position")
            )
        return made
    if depth > 1 and _is_size(value):
        return Input(tuple(value))
    if isinstance(value, Mapping):
        return {name: _described(item, batch, depth + 1) for name, item in value.items()}
    if type(value) in (list, tuple) and depth < _DEEPEST:
        return type(value)(_described(item, batch, depth + 1) for item in value)
    if isinstance(value, (Input, *_CONSTANTS)):
        return value
    message = f"an input of type {type(value).__name__} cannot be described"
    raise ModelError(Problem("input", message, "give tensors, in tuples, lists and dicts"))


def _map(tree: Any, change: Callable[[Input], Any]) -> Any:
    """Return `tree` with every input changed."""
    if isinstance(tree, Input):
        return change(tree)
    if isinstance(tree, dict):
        return {name: _map(item, change) for name, item in tree.items()}
    return type(tree)(_map(item, change) for item in tree) if isinstance(tree, tuple | list) else tree


def _shown(tree: Any) -> str:
    """Return a tree as a person reads it."""
    if isinstance(tree, Input):
        return re.sub(r"(?<=\d)x(?=\d)", "×", str(tree))
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{name}:{_shown(item)}" for name, item in tree.items()) + "}"
    return f"[{', '.join(map(_shown, tree))}]" if isinstance(tree, tuple | list) else repr(tree)


def _written(tree: Any) -> Any:
    """Return a tree as JSON-able data: texts for inputs, and every container by its kind."""
    if isinstance(tree, Input):
        return str(tree)
    if isinstance(tree, dict):
        return {"dict": {name: _written(item) for name, item in tree.items()}}
    if isinstance(tree, tuple | list):
        return {type(tree).__name__: [_written(item) for item in tree]}
    return {"value": tree}


def _read(data: Any) -> Any:
    """Return the tree that :func:`_written` wrote."""
    if isinstance(data, str):
        return parse_input(data)[1]
    ((kind, value),) = data.items()
    if kind == "dict":
        return {str(name): _read(item) for name, item in value.items()}
    if kind in ("tuple", "list"):
        return (tuple if kind == "tuple" else list)(_read(item) for item in value)
    if kind != "value" or not isinstance(value, _CONSTANTS):
        raise ValueError(f"there is no input of kind '{kind}'")
    return value

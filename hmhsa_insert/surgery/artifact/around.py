"""A whole network around a base network (a detector, a segmenter) as a folder of plain data, rebuilt bit for bit.

One JSON file (how it was built; the base network and what was done to it), ``recipe.yaml`` if there is one,
``model.safetensors`` (all weights) and a short ``README.md``. No pickle; reading one runs no code that the folder
names.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from pydantic import ConfigDict
from torch import nn

from hmhsa_insert.errors import ArtifactError, HmhsaInsertError, ModelError, Problem, within
from hmhsa_insert.files.json_text import read_json_mapping
from hmhsa_insert.files.shapes import Shape, checked
from hmhsa_insert.inert import markdown, markdown_code
from hmhsa_insert.surgery.artifact import artifact
from hmhsa_insert.surgery.artifact.folder import write_folder
from hmhsa_insert.surgery.artifact.manifest import (
    FORMAT,
    WEIGHTS,
    base_as_data,
    build_base,
    check_base,
    check_format,
    is_rebuildable,
    plans_as_data,
    plans_from_data,
    write_json,
)
from hmhsa_insert.surgery.artifact.older import FolderKind
from hmhsa_insert.surgery.artifact.tensors import check_fit, check_sizes, fill, gather
from hmhsa_insert.surgery.base.fake import hollow_copy
from hmhsa_insert.surgery.base.load import ModelSource
from hmhsa_insert.surgery.edit.splice import Ledger, ledgers

R = TypeVar("R")
W = TypeVar("W", bound="WholeShape")


class WholeShape(Shape):
    """What every such file holds; a kind adds its own keys."""

    model_config = ConfigDict(extra="forbid")

    format: int
    training: bool
    channels_last: bool
    base: dict[str, Any]
    plans: list[Any]


@dataclass(frozen=True)
class Stored(Generic[R]):
    """What such a folder says, without building anything.

    Attributes:
        record: how the whole is built.
        base: of the base network, as an artifact's ``base.json``.
        plans: what was done to it.
        training, channels_last: mode and memory layout.
    """

    record: R
    base: dict[str, Any]
    plans: list[Ledger]
    training: bool
    channels_last: bool


@dataclass(frozen=True)
class Whole(Generic[R, W]):
    """A kind of whole network.

    Attributes:
        what: its name in messages: ``detector``.
        file: the JSON file that describes it.
        body: the submodule that is the base network, edited or not.
        tip: how such a folder is made.
        shape: of the file.
        record_of: returns how a model was built; None for any other model.
        source_of: returns what builds the base network again.
        as_data: returns the kind's own keys of the file.
        from_data: returns the record that the file says.
        build: builds the whole around a base network.
        said: returns the title of the README, and its last line.
    """

    what: str
    file: str
    body: str
    tip: str
    shape: type[W]
    record_of: Callable[[nn.Module], R | None]
    source_of: Callable[[R], ModelSource | None]
    as_data: Callable[[R], Mapping[str, Any]]
    from_data: Callable[[W], R]
    build: Callable[[R, nn.Module], nn.Module]
    said: Callable[[R], tuple[str, str]]

    def save(self, model: nn.Module, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write a whole network, as :func:`hmhsa_insert.save` does."""
        record = self.record_of(model)
        if record is None:
            tip = f"build it with hi.{self.what}"
            raise ModelError(Problem(type(model).__name__, f"this is not a {self.what}", tip))
        body = model.get_submodule(self.body)
        done = ledgers(body)
        tensors = gather(model, done)
        source = self.source_of(record)
        data = {
            "format": FORMAT,
            **self.as_data(record),
            "training": model.training,
            "channels_last": tensors.channels_last,
            "base": base_as_data(source, type(body).__name__, tensors.aliases),
            "plans": plans_as_data(done),
        }

        def write(target: Path) -> None:
            artifact.write_recipes(target, done)
            write_json(target / self.file, data)
            tensors.write(target)
            readme = _readme(*self.said(record), source, done)
            (target / "README.md").write_text(readme, encoding="utf-8")

        kind = FolderKind((self.file,), lambda path: [each.plan.recipe for each in self.read(path).plans])
        return write_folder(Path(folder), write, kind, overwrite=overwrite)

    def load(
        self, folder: str | Path, base: nn.Module | None = None, *, allow_code: bool = False
    ) -> nn.Module:
        """Rebuild a whole network, as :func:`hmhsa_insert.load` does."""
        target = Path(folder)
        stored = self.read(target)
        if base is not None and ledgers(base):
            message, tip = "this base network is edited", "give hi.remove(base)"
            raise ArtifactError(Problem(type(base).__name__, message, tip))
        path = target / self.file
        if base is not None:
            hollow = hollow_copy(base)
        else:
            check_sizes(stored.base["kwargs"], path, target)
            hollow = build_base(path, stored.base, allow_code, meta=True)
        with torch.device("meta"):
            hollow = self._rebuilt(artifact.respliced(hollow, stored.plans, path), stored, path)
        check_fit(hollow, ledgers(hollow.get_submodule(self.body)), target, stored.base["aliases"])
        network = copy.deepcopy(base) if base is not None else build_base(path, stored.base, allow_code)
        model = self._rebuilt(artifact.respliced(network, stored.plans, path), stored, path)
        fill(model, ledgers(model.get_submodule(self.body)), target, stored.base["aliases"])
        if stored.channels_last:
            model = model.to(memory_format=torch.channels_last)
        return model.train(stored.training)

    def is_folder(self, folder: str | Path) -> bool:
        """Return True if a path is the folder of such a network."""
        return all(os.path.isfile(os.path.join(folder, name)) for name in (self.file, WEIGHTS))

    def read(self, folder: str | Path) -> Stored[R]:
        """Return what a folder says, without building it.

        Raises:
            ArtifactError: not of this kind, of a newer format, or damaged.
        """
        target = Path(folder)
        path = target / self.file
        missing = [name for name in (self.file, WEIGHTS) if not (target / name).is_file()]
        if missing:
            there = target.is_dir()
            message = (
                f"this is not a {self.what}: it has no {missing[0]}" if there else "there is no such folder"
            )
            raise ArtifactError(Problem(str(target), message, self.tip))
        data = read_json_mapping(path, ArtifactError)
        check_format(path, data)
        written = checked(self.shape, data, path, ArtifactError)
        base = check_base(path, written.base)
        plans = plans_from_data(path, written.plans)
        return Stored(self.from_data(written), base, plans, written.training, written.channels_last)

    def _rebuilt(self, network: nn.Module, stored: Stored[R], path: Path) -> nn.Module:
        """Build the whole around its network; what the folder asks for may be nothing that can be built."""
        try:
            return self.build(stored.record, network)
        except HmhsaInsertError as error:
            raise ArtifactError(within(path, error)) from error
        except (TypeError, ValueError, RuntimeError) as error:
            message = f"it says no {self.what} that can be built: {error}"
            raise ArtifactError(Problem(str(path), message)) from error


def _readme(title: str, last: str, source: ModelSource | None, done: Sequence[Ledger]) -> str:
    base = "" if source and is_rebuildable(source) else ", base=THE_BASE_NETWORK"
    recipes = ", ".join(markdown(str(ledger.plan.recipe["name"])) for ledger in done) or "none"
    lines = [f"# {title}", "", "Made by hmhsa-insert. Load it with:", ""]
    lines += ["```python", "import hmhsa_insert as hi", f'model = hi.load("THIS_FOLDER"{base})', "```", ""]
    spec = markdown_code(source.spec if source else "a network of your own")
    lines += [f"Backbone: {spec}, recipes: {recipes}", "", last]
    return "\n".join(lines) + "\n"

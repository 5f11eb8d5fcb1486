"""Saving and loading of what any task makes: the table of tasks says which module writes and reads it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.files.hub import fetched
from hmhsa_insert.tasks.table import TASKS, made_by


@reads_arguments
def save(model: nn.Module, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write an edited model or a detector as an artifact folder; it appears whole or not at all.

    Args:
        model: from ``hi.apply`` or ``hi.detector``.
        folder: where; must not exist, unless `overwrite` and it is an artifact of the same kind.
        overwrite: replace an older artifact.

    Returns:
        The folder.

    Raises:
        ArtifactError: the folder exists or cannot be written.
        ModelError: the model was not edited and is not a detector, or has no weights.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> model = timm.create_model("test_resnet", num_classes=10)
        >>> folder = hi.save(hi.apply(model, "stage3.yaml", input_size=(3, 64, 64)), "edited")
        >>> sorted(path.name for path in folder.iterdir())[:3]
        ['README.md', 'base.json', 'manifest.json']
    """
    written: Path = _format_of(model).save(model, folder, overwrite=overwrite)
    return written


@reads_arguments
def load(folder: str | Path, base: nn.Module | None = None, *, allow_code: bool = False) -> nn.Module:
    """Rebuild the edited model or the detector of an artifact; outputs equal the saved one's bit for bit.

    Args:
        folder: an artifact, or the name of one on the Hugging Face Hub: ``"hf-hub:USER/NAME"``, with ``@REVISION`` if
            it is not the newest.
        base: the base network, freshly built, where the artifact's is not one of timm's or torchvision's: a folder
            may not name code to run. It is copied.
        allow_code: build the base network with the factory that the folder names, if you trust the folder.

    Raises:
        ArtifactError: not an artifact, of a newer format, or its base network cannot be built.
        WeightsError: the weights are corrupt or of another model.
        HubError: it cannot be downloaded.

    Example:
        >>> import timm, torch
        >>> import hmhsa_insert as hi
        >>> model = timm.create_model("test_resnet", num_classes=10)
        >>> edited = hi.apply(model, "stage3.yaml", input_size=(3, 64, 64)).eval()
        >>> loaded = hi.load(hi.save(edited, "edited"))
        >>> x = torch.randn(2, 3, 64, 64)
        >>> torch.equal(loaded(x), edited(x))
        True
    """
    where = fetched(str(folder))
    model: nn.Module = _format_of(where).load(where, base, allow_code=allow_code)
    return model


def read_record(folder: str | Path) -> tuple[dict[str, Any], list[Any]]:
    """Return the record of an artifact's base network, and what was done to it, without building anything.

    Raises:
        ArtifactError: not an artifact, of a newer format, or its files were damaged.
    """
    record: tuple[dict[str, Any], list[Any]] = _format_of(folder).read_record(folder)
    return record


def _format_of(model: str | Path | nn.Module) -> Any:
    return importlib.import_module(TASKS[made_by(model)].artifact)

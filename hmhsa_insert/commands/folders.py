"""What a command asks of the folders that it is given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hmhsa_insert.errors import Argument, HmhsaInsertError, ModelError, Problem
from hmhsa_insert.files.ours import divided, few, has_list, remove


def check_base(factory: str, named: Sequence[str]) -> None:
    """Refuse a factory for base networks that nothing needs.

    Raises:
        ModelError: nothing of what is named is a folder whose base network no library builds.
        ArtifactError: a folder is damaged.
    """
    from hmhsa_insert.exporting.subject import artifact_of
    from hmhsa_insert.surgery.artifact.manifest import is_rebuildable, source_in
    from hmhsa_insert.tasks.artifact import read_record
    from hmhsa_insert.training.run_folder import is_run

    messages = []
    for name in named:
        if not os.path.isdir(folder := artifact_of(name)):
            if is_run(name):
                return  # its configuration may name the factory
            messages.append(f"it is for the folder of an artifact, and '{name}' is not one")
        elif not is_rebuildable(source := source_in(read_record(folder)[0])):
            return
        else:
            messages.append(f"'{name}' does not need it: its base network is {source.spec}")
    tip = f"to edit that network itself, give it as MODEL: {factory}"
    raise ModelError([Problem(Argument("base"), message, tip) for message in messages])


def check_empty(output: Path, overwrite: bool) -> None:
    """Refuse a folder that holds files, before any work is done; those of an earlier run may be replaced."""
    if output.exists() and not output.is_dir():
        raise HmhsaInsertError(Problem(str(output), "this is a file", "give a folder that is new or empty"))
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not overwrite or not has_list(output):
        tip = "give a folder that is new or empty"
        if has_list(output):
            tip += ", or replace what an earlier run wrote: `overwrite=True`"
        raise HmhsaInsertError(Problem(str(output), "there are files in this folder", tip))
    ours, others = divided(output, lambda name: False)
    if others:
        message = f"it also holds what this command did not write, or not like this: {few(others)}"
        raise HmhsaInsertError(Problem(str(output), message, "move that away, or give another folder"))
    remove(output, ours)

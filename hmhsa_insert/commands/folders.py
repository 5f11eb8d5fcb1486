"""What a command asks of the folders that it is given."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hmhsa_insert.errors import Argument, ModelError, Problem


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

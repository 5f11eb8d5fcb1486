"""``hmhsa-insert push DIR USER/NAME``: an artifact on the Hugging Face Hub, with a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def push(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that `apply` wrote, or a finished run of `train`.")
    ],
    repository: Annotated[
        str, typer.Argument(metavar="USER/NAME", help="On the Hub; made if there is none of this name.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make it private if it is new; refuse a public one.")
    ] = False,
    message: Annotated[str, typer.Option("--message", "-m", metavar="TEXT", help="Of the commit.")] = "",
) -> None:
    """Upload an artifact to the Hugging Face Hub, with a model card; `hf-hub:USER/NAME` is its name as MODEL.

    The card has the recipe, what was inserted where and how to load it; of a run, its scores too. Log in with `hf auth
    login` first, or set HF_TOKEN.

    Example: `hmhsa-insert push runs/mine me/resnet50-hmhsa`
    """
    from hmhsa_insert.commands.console import out, progress
    from hmhsa_insert.hub.push import push as upload

    with progress.status("") as status:
        address = upload(folder, repository, private=private, message=message, say=status.update)
    out.print(f"pushed to {address}", soft_wrap=True)

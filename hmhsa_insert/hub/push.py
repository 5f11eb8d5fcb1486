"""Push an edited model, an artifact or a run to the Hugging Face Hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from hmhsa_insert.arguments import reads_arguments
from hmhsa_insert.errors import ArtifactError, HubError, Problem
from hmhsa_insert.files.hub import ARTIFACT_FILES, hub_errors
from hmhsa_insert.files.model_spec import ModelSpec
from hmhsa_insert.files.ours import write_manifest
from hmhsa_insert.hub.card import card
from hmhsa_insert.inert import json_text
from hmhsa_insert.models import read_state_dict
from hmhsa_insert.recipe.canonical import dump_yaml
from hmhsa_insert.tasks.artifact import read_record, save
from hmhsa_insert.training.run_folder import ARTIFACT, is_run

_PREFIX = "hf-hub:"


@reads_arguments
def push(
    model: nn.Module | str | Path,
    repository: str,
    *,
    private: bool = False,
    message: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> str:
    """Upload an edited model or a detector to the Hugging Face Hub, with a model card; ``hi.load`` reads it from there.

    The card says what was inserted into which network, with the recipe and how to load it; of a run, its scores and its
    table too. huggingface_hub finds the token where ``hf auth login`` put it, or in ``HF_TOKEN``.

    Args:
        model: from ``hi.apply`` or ``hi.detector``, an artifact's folder, or the folder of a finished run.
        repository: ``"USER/NAME"``; made if there is none, else a new commit is added.
        private: make it private if it is new; a public one is refused.
        message: of the commit.
        say: called with what is being done.

    Returns:
        The address of the repository.

    Raises:
        HubError: the name is no repository's, there is no token, it is public and is to be private, or the Hub refuses
            or cannot be reached.
        ArtifactError, ModelError, WeightsError, ReportError: there is nothing to upload, it is damaged, or the run is
            not finished.

    Example:
        >>> import timm
        >>> import hmhsa_insert as hi
        >>> model = hi.apply(timm.create_model("test_resnet"), "stage3.yaml", input_size=(3, 64, 64))
        >>> try:
        ...     hi.push(model, "no user/name")
        ... except hi.HubError as error:
        ...     print(error.problems[0].message)
        this does not name a repository
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    repository = repository.removeprefix(_PREFIX)
    spec = f"{_PREFIX}{repository}"
    with hub_errors(spec):
        validate_repo_id(repository)
    if "/" not in repository:
        raise HubError(Problem(spec, "this names no user or organization", f"write USER/{repository}"))
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary, "artifact")
        say("writing the files and the model card")
        run = _stage(model, staged)
        card(staged, repository, run).save(staged / "README.md")
        _describe_weights(staged)
        write_manifest(staged)
        say(f"uploading to {repository}")
        with hub_errors(spec):
            api = HfApi(library_name="hmhsa-insert")
            address = api.create_repo(repository, private=private or None, exist_ok=True)
            if private and not api.repo_info(repository).private:
                message = "it exists and is public: nothing was uploaded"
                raise HubError(
                    Problem(spec, message, "make it private on the Hub first, or choose another name")
                )
            api.upload_folder(
                repo_id=repository,
                folder_path=staged,
                commit_message=message or f"Upload {ModelSpec(spec).label} with hmhsa-insert",
            )
    return str(address)


def _describe_weights(staged: Path) -> None:
    """Write into the files of weights what they are of, for whoever finds them without the others.

    Only here: safetensors writes metadata in another order each time, and equal runs write equal files.
    """
    base, plans = read_record(staged)
    source = {"source": base["source"], "class": base["class"], **base["kwargs"]}
    metadata = {
        "format": "pt",
        "hmhsa_insert.base": json_text(source),
        "hmhsa_insert.recipes": "---\n".join(dump_yaml(dict(each.plan.recipe)) for each in plans),
        "hmhsa_insert.versions": json_text(base["versions"]),
    }
    for path in staged.glob("*.safetensors"):
        save_file(read_state_dict(path), path, metadata)


def _stage(model: nn.Module | str | Path, staged: Path) -> Path | None:
    """Write or copy an artifact to `staged`; return the folder of its run, if it has one."""
    if isinstance(model, nn.Module):
        save(model, staged)
        return None
    given = Path(model)
    run = given if is_run(given) else None
    folder = given / ARTIFACT if run else given
    if run is not None and not folder.is_dir():
        message = "this run has no artifact: nothing was inserted, or its first epoch is not done"
        raise ArtifactError(Problem(str(given), message))
    read_record(folder)
    staged.mkdir()
    for path in sorted(folder.iterdir()):
        if any(fnmatch(path.name, pattern) for pattern in ARTIFACT_FILES):
            shutil.copy(path, staged)
    return run

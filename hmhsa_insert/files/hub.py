"""Files on the Hugging Face Hub: their download by huggingface_hub, and its errors as ours.

Tokens are huggingface_hub's business: it finds them where the user keeps them, and no function here takes one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hmhsa_insert.errors import HubError, Problem, first_line
from hmhsa_insert.files.model_spec import ModelSpec

# What an artifact may consist of: of one on the Hub, nothing else is downloaded but a config.json.
ARTIFACT_FILES = (
    *("plan.json", "base.json", "detector.json", "segmenter.json", "manifest.json"),
    *("recipe.yaml", "recipe-*.yaml", "model.safetensors", "displaced.safetensors"),
)
_MARKERS = ("plan.json", "detector.json", "segmenter.json")
_OF_TIMM = (
    "config.json"  # asked for as well: a repository without any of the files makes huggingface_hub warn
)


def fetched(spec: str) -> str:
    """Return the folder of an artifact that ``hf-hub:USER/NAME`` names, downloaded if it is not in the cache yet.

    Anything else is returned as it is: another library's model on the Hub too.

    Args:
        spec: a MODEL, or a folder; a revision may follow a name as ``@REVISION``.

    Raises:
        HubError: there is no such repository, it is not open to the user, or there is no connection and no copy.
    """
    if not ModelSpec(spec).is_on_hub:
        return spec
    from huggingface_hub import snapshot_download

    name, revision = split(spec)
    with hub_errors(spec):
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=[*ARTIFACT_FILES, _OF_TIMM]))
    return str(folder) if any((folder / marker).is_file() for marker in _MARKERS) else spec


def split(spec: str) -> tuple[str, str | None]:
    """Return the repository and the revision that ``hf-hub:USER/NAME@REVISION`` names."""
    name, at, revision = ModelSpec(spec).bare.partition("@")
    return name, revision if at else None


@contextmanager
def hub_errors(where: str) -> Iterator[None]:
    """Raise HubError, with one line about `where`, for what huggingface_hub raises in the ``with``."""
    from huggingface_hub import errors

    # HTTPError is that of the client below: no answer at all is one too.
    no_answer: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]
    try:
        yield
    except (no_answer, errors.HFValidationError, errors.OfflineModeIsEnabled, OSError) as error:
        raise HubError(_problem(where, error)) from error


def _problem(where: str, error: Exception) -> Problem:
    """Return what an error of huggingface_hub means for the user."""
    from huggingface_hub import errors

    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(error, errors.HFValidationError):
        return Problem(
            where, "this does not name a repository", "write USER/NAME; of letters, digits, '-', '_' and '.'"
        )
    if isinstance(error, errors.GatedRepoError):
        return Problem(where, "its authors give access on request", "ask for it on its page on the Hub")
    if isinstance(error, errors.RevisionNotFoundError):
        return Problem(where, "it has no such revision", "leave @REVISION out for the newest")
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        message = "it is not in the cache, and the Hub cannot be reached"
        return Problem(where, message, "unset HF_HUB_OFFLINE if it is set, and try again with a connection")
    if status == 401 and not isinstance(error, errors.RepositoryNotFoundError):
        return Problem(
            where, "the Hub does not know who asks", "log in with `hf auth login`, or set HF_TOKEN"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return Problem(
            where, "there is no such repository, or it is private", "for private ones: `hf auth login`"
        )
    if status == 403:
        return Problem(where, "your token may not write there", "`hf auth login` with a token that can write")
    said = "cannot be used" if status else "cannot be reached"
    return Problem(where, f"the Hub {said}: {first_line(error)}")

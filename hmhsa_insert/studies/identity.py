"""What a trial is: a digest of everything that determines it, and of nothing that only names it."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from torch import nn

import hmhsa_insert
from hmhsa_insert.blocks import parse_options
from hmhsa_insert.files.hub import fetched
from hmhsa_insert.files.ours import MANIFEST
from hmhsa_insert.surgery.artifact.artifact import is_artifact
from hmhsa_insert.surgery.base.fake import notes
from hmhsa_insert.surgery.base.load import SOURCE, ModelSource
from hmhsa_insert.surgery.sites.site import Site
from hmhsa_insert.training.run_identity import NAMES_FINGERPRINT, identity
from hmhsa_insert.training.task import Task

# Other versions may give other numbers; a wheel's build (+cpu, +cu128) is the machine's matter, as its device is.
_DECIDING = ("torch", "timm", "torchvision")


def resolved_site(site: Site) -> dict[str, Any]:
    """Return what one site comes to, a block's defaults written out: two spellings of it are the same."""
    values = {key: value for key, value in vars(site).items() if key not in ("inp", "node", "options")}
    if site.expression is None:
        del values["expression"]  # trials of hooked sites keep the identity they had without that field
    if site.block is not None:
        options = site.options or parse_options(site.block)[0]
        values["block"] = options.model_dump(mode="json") if options is not None else dict(site.block)
    return values


def source_of(run: Task, base: nn.Module) -> str:
    """Return what a network's name stands for, however it was spelled; of an artifact, a digest of its files."""
    spec = fetched(str(run.model))
    if is_artifact(spec):
        digest = hashlib.sha256()
        for path in sorted(Path(spec).iterdir()):
            if path.suffix in (".json", ".safetensors") and path.name != MANIFEST:
                digest.update(path.name.encode() + path.read_bytes())
        return f"artifact {digest.hexdigest()}"
    source = notes(base).get(SOURCE)
    return source.spec if isinstance(source, ModelSource) else spec


def digest_of(run: Task, source: str, sites: Any, threads: int, by_names: bool = False) -> str:
    """Return the identity of everything but the seed; with data known `by_names` alone, as earlier versions did."""
    config = run.config
    data = config["data"] | {"source": Path(config["data"]["source"]).name}
    if by_names:
        data["fingerprint"] = data[NAMES_FINGERPRINT]
    what = config | {"model": source, "recipe": sites, "data": data, "seed": None}
    versions = {name: metadata.version(name).partition("+")[0] for name in _DECIDING}
    versions["hmhsa-insert"] = ".".join(hmhsa_insert.__version__.split(".")[:2])
    return hash_of({"run": identity(what), "versions": versions, "threads": threads})


def trial_id(digest: str, seed: int) -> str:
    """Return the sixteen digits that two trials share if they are the same."""
    return hashlib.sha256(f"{digest} {seed}".encode()).hexdigest()[:16]


def hash_of(value: Any) -> str:
    """Return a digest of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()

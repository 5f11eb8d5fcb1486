"""The study file as data: every key and its meaning.

A file holds short forms, which :mod:`hmhsa_insert.studies.short_forms` writes out before these models see them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
)

from hmhsa_insert.recipe.explain import Found, refusal
from hmhsa_insert.recipe.fields import Name
from hmhsa_insert.recipe.scalars import shown

# Of the CPUs or GPUs of one node.
MOST_UNITS = 65536
_LABEL = re.compile(r"\S([^\n\r\t]{0,98}\S)?")


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        message = f"{shown(text)} is not a label: one line of at most 100 characters"
        raise refusal([Found((), message)], text)
    return text


Label = Annotated[str, AfterValidator(_label)]
Control = Literal["placebo", "matched"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelEntry(_Section):
    """A base network.

    Attributes:
        model: what ``hi.load_model`` takes, or the folder of an artifact.
        pretrained: begin with the library's weights.
        weights: a checkpoint of the base network, beside the study file or a whole path.
    """

    model: Annotated[str, Field(min_length=1)]
    pretrained: bool = False
    weights: str | None = None


class VariantEntry(_Section):
    """What is done to a base network; nothing at all is the network as it is.

    Attributes:
        recipe: a recipe file (beside the study file, or a path), or the name of a shipped recipe.
        edits: a recipe's edits, written here.
        axes: what varies in the recipe: ``ID.KEY`` of an edit, such as ``attn.at.stage``, and its values, or its
            values by label.
        controls: also each of these blocks at the same sites: ``placebo`` has as many parameters and cannot mix
            tokens, ``matched`` is a residual convolution block of equal MACs.
        prune: also with so many of the inserted blocks, or each of several numbers: of the trained network those that
            the validation loss misses least are taken away one by one, and what is left is trained anew.
    """

    recipe: str | None = None
    edits: list[Any] | None = None
    axes: dict[str, dict[Label, Any]] = {}
    controls: list[Control] = []
    prune: list[PositiveInt] = []


class Exclusion(_Section):
    """Trials to leave out: those that fit every key given here. Names are globs such as ``hmhsa*``.

    Attributes:
        model: labels of models.
        variant: labels of variants, with the values of their axes: ``hmhsa stage=4``.
        settings: labels of settings.
        data: sources.
        seed: one seed.
    """

    model: str | None = None
    variant: str | None = None
    settings: str | None = None
    data: str | None = None
    seed: int | None = None


class StudyFile(_Section):
    """A study.

    Attributes:
        version: of this file format, 1.
        name: for folders and titles; the file's name if left out.
        description: what it asks; the file's leading comment if left out.
        task: what is learned; ``classify`` if left out.
        detector: of the tasks that have one; theirs if left out. The models are its backbones.
        decoder: likewise, of semantic segmentation.
        models: base networks by label.
        variants: what is done to each of them, by label.
        baseline: the variant that the others are compared with; the only plain one if left out.
        settings: training settings by label: ``base`` names a file or shipped settings, other keys win over it.
        data: sources.
        seeds: of base weights, blocks, order and draws.
        exclude: trials to leave out.
        threads: torch computes each trial with so many; numbers may depend on it.
        cpus: that a cluster sets aside for each trial; as many as threads if left out.
        gpus: that a cluster sets aside for each trial; may be a fraction.
    """

    version: Literal[1]
    name: Name | None = None
    description: str | None = None
    task: str | None = None
    detector: str | None = None
    decoder: str | None = None
    models: Annotated[dict[Label, ModelEntry], Field(min_length=1)]
    variants: Annotated[dict[Label, VariantEntry], Field(min_length=1)]
    baseline: str | None = None
    settings: Annotated[dict[Label, dict[str, Any]], Field(min_length=1)]
    data: Annotated[list[str], Field(min_length=1)]
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1)]
    exclude: list[Exclusion] = []
    threads: PositiveInt = 1
    cpus: Annotated[float, Field(gt=0, le=MOST_UNITS)] | None = None
    gpus: Annotated[float, Field(ge=0, le=MOST_UNITS)] = 0.0

    @property
    def around(self) -> dict[str, str]:
        """What is built around the models, by the option that names it."""
        given = {"detector": self.detector, "decoder": self.decoder}
        return {name: value for name, value in given.items() if value is not None}

"""What can be known of a run before its data is read: are network and weights there, and does the recipe fit them?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from hmhsa_insert.files.hub import fetched
from hmhsa_insert.surgery.artifact.artifact import is_artifact
from hmhsa_insert.surgery.plan import plan
from hmhsa_insert.training.adapt import input_channels
from hmhsa_insert.training.loop.seeding import kept_random_state
from hmhsa_insert.training.network import build_base
from hmhsa_insert.training.problems import Problems
from hmhsa_insert.training.run_schema import RunSettings

# The data's numbers are not known yet, and only head and stem depend on them.
_STAND_INS = {"num_classes": 2, "in_chans": 3}


def look_at_network(
    problems: Problems,
    model: str | nn.Module,
    settings: RunSettings | None,
    recipe: Mapping[str, Any] | None,
    init_from: str | Path | None,
    pretrained: bool,
    allow_code: bool,
) -> None:
    """Collect why a run's network cannot be built, given its weights or edited.

    Args:
        problems: receives them.
        model: what the run is of.
        settings: of the run; None: they cannot be read, so that the size of the images is not known either.
        recipe: as plain data; None: there is none.
        init_from: a checkpoint of the network.
        pretrained: begin with the library's weights, which are downloaded unless there is a problem already.
        allow_code: run the factory that an artifact names.
    """
    chosen = settings or RunSettings(epochs=1, batch_size=1)
    asked = {} if isinstance(model, str) and is_artifact(fetched(model)) else _STAND_INS

    def built(weights: str | Path | None, pretrained: bool) -> nn.Module | None:
        made = None
        with problems.part(), kept_random_state():
            made, _, _ = build_base(model, asked, chosen, weights, pretrained, allow_code)
        return made

    base = built(init_from, pretrained and not problems)
    if base is None and init_from is not None:
        base = built(None, False)
    if base is not None and recipe is not None and settings is not None:
        side = settings.image_side
        with problems.part():
            plan(base, recipe, (input_channels(base), side, side))

"""Insert attention blocks into any CNN from a recipe, prove what the edit did, keep the weights.

``import hmhsa_insert as hi`` is fast: names are imported from their files at their first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hmhsa_insert.lazy import lazily

__version__ = "0.1.0"

# Public name -> its file. The only list of what users may rely on.
_PUBLIC = {
    "ArgumentError": "errors",
    "ArtifactError": "errors",
    "BlockError": "errors",
    "ExportError": "errors",
    "HmhsaInsertError": "errors",
    "HubError": "errors",
    "Inputs": "surgery.base.inputs",
    "ModelError": "errors",
    "PlanError": "errors",
    "Problem": "errors",
    "RecipeError": "errors",
    "VerifyError": "errors",
    "WeightsError": "errors",
    "ablate": "studies.ablate",
    "apply": "surgery.apply",
    "attention": "drawing.attention",
    "base_state_dict": "surgery.edit.undo",
    "build_block": "blocks",
    "detector": "detection.detector",
    "draw": "drawing.draw",
    "evaluate": "training.score",
    "export": "exporting.export",
    "load": "tasks.artifact",
    "load_model": "surgery.base.load",
    "load_weights": "models",
    "locate_stages": "surgery.locate.found",
    "plan": "surgery.plan",
    "profile": "costs.profile",
    "push": "hub.push",
    "register_block": "blocks",
    "remove": "surgery.edit.undo",
    "report": "reports.report",
    "save": "tasks.artifact",
    "segmenter": "segmentation.segmenter",
    "suggest": "placement.suggest",
    "train": "training.run",
    "verify": "surgery.verify",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name == "integrations":
        return importlib.import_module(f"{__name__}.{name}")
    return lazily(__name__, _PUBLIC)(name)


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from hmhsa_insert.blocks import build_block as build_block
    from hmhsa_insert.blocks import register_block as register_block
    from hmhsa_insert.costs.profile import profile as profile
    from hmhsa_insert.detection.detector import detector as detector
    from hmhsa_insert.drawing.attention import attention as attention
    from hmhsa_insert.drawing.draw import draw as draw
    from hmhsa_insert.errors import ArgumentError as ArgumentError
    from hmhsa_insert.errors import ArtifactError as ArtifactError
    from hmhsa_insert.errors import BlockError as BlockError
    from hmhsa_insert.errors import ExportError as ExportError
    from hmhsa_insert.errors import HmhsaInsertError as HmhsaInsertError
    from hmhsa_insert.errors import HubError as HubError
    from hmhsa_insert.errors import ModelError as ModelError
    from hmhsa_insert.errors import PlanError as PlanError
    from hmhsa_insert.errors import Problem as Problem
    from hmhsa_insert.errors import RecipeError as RecipeError
    from hmhsa_insert.errors import VerifyError as VerifyError
    from hmhsa_insert.errors import WeightsError as WeightsError
    from hmhsa_insert.exporting.export import export as export
    from hmhsa_insert.hub.push import push as push
    from hmhsa_insert.models import load_weights as load_weights
    from hmhsa_insert.placement.suggest import suggest as suggest
    from hmhsa_insert.reports.report import report as report
    from hmhsa_insert.segmentation.segmenter import segmenter as segmenter
    from hmhsa_insert.studies.ablate import ablate as ablate
    from hmhsa_insert.surgery.apply import apply as apply
    from hmhsa_insert.surgery.base.inputs import Inputs as Inputs
    from hmhsa_insert.surgery.base.load import load_model as load_model
    from hmhsa_insert.surgery.edit.undo import base_state_dict as base_state_dict
    from hmhsa_insert.surgery.edit.undo import remove as remove
    from hmhsa_insert.surgery.locate.found import locate_stages as locate_stages
    from hmhsa_insert.surgery.plan import plan as plan
    from hmhsa_insert.surgery.verify import verify as verify
    from hmhsa_insert.tasks.artifact import load as load
    from hmhsa_insert.tasks.artifact import save as save
    from hmhsa_insert.tasks.typed import Evaluate, Train

    train: Train
    evaluate: Evaluate

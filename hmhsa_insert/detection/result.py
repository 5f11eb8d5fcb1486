"""The result of a detector's run."""

from __future__ import annotations

from dataclasses import dataclass

from hmhsa_insert.detection.metric import NAMES
from hmhsa_insert.training.result import RunResult, Scores


@dataclass(frozen=True, repr=False)
class DetectResult(RunResult):
    """A finished run of detection or segmentation."""

    @property
    def box(self) -> Scores:
        """AP, AP50, AP75, APs, APm and APl of boxes, as shares; None: there was nothing to find."""
        return {name: self.scores[f"box_{name.lower()}"] for name in NAMES}

    @property
    def mask(self) -> Scores | None:
        """The same of masks; None for a detector without masks."""
        if "mask_ap" not in self.scores:
            return None
        return {name: self.scores[f"mask_{name.lower()}"] for name in NAMES}

"""The shipped fine-tuning settings on networks of every kind, smaller images and batches aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from training_nets import Told, few_digits

import hmhsa_insert as hi
from hmhsa_insert.training.planned import plan_run
from hmhsa_insert.training.run import train

_PLAIN = "Sequential does not say its layers (timm's networks do): all learn at one rate, without finetune.layer_decay"
_NOTHING_NEW = "no parameter is new: all train from the start, without finetune.freeze_base_epochs"
_SCALED = "learning rate 7.81e-06: optimizer.lr is 0.0001 for batches of 256, and batch_size is 20"
# Model, recipe, and what is said of fine-tuning.
NETWORKS: list[tuple[str, str | None, list[str]]] = [
    ("test_resnet", "stage3", []),
    ("mobilenetv3_small_050", "stage3", []),
    ("test_convnext", "se", []),
    ("irb_tiny", "stage3", []),
    ("hat_net_tiny", None, [_NOTHING_NEW]),
    ("transcnn_tiny", None, [_NOTHING_NEW]),
    ("training_nets:plain", None, [_PLAIN, _NOTHING_NEW]),
]


@pytest.mark.parametrize(
    ("model", "recipe", "said"), NETWORKS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_finetune_trains_it(tmp_path: Path, model: str, recipe: str | None, said: list[str]) -> None:
    told = Told()
    small = ["epochs=2", "batch_size=20", "input_size=32", "compute.device=cpu", "loader.workers=0"]
    small += ["finetune.freeze_base_epochs=1"]
    result = train(
        model,
        few_digits(20, 20),
        recipe=recipe,
        settings="finetune",
        overrides=small,
        folder=tmp_path,
        reporter=told,
    )
    assert result.updates == 2
    about = [note for note in told.notes if "finetune." in note or note.startswith("learning rate")]
    assert about == [_SCALED, *said]
    assert any(
        note.startswith("warning: that is less than a tenth of optimizer.lr (0.078") for note in told.notes
    )


def test_an_artifact_is_finetuned_by_default(tmp_path: Path) -> None:
    data: Any = few_digits(20, 20)
    model = hi.load_model("test_resnet", num_classes=10, in_chans=1).model
    hi.save(hi.apply(model, "stage3", input_size=(1, 64, 64)), tmp_path / "artifact")
    chosen = plan_run(tmp_path / "artifact", data)
    assert chosen.notes == ("settings: finetune, since the network has weights",)
    assert chosen.settings.finetune.freeze_base_epochs == 2
    assert plan_run(tmp_path / "artifact", data, settings="digits").notes == ()
    assert plan_run("test_resnet", data, pretrained=True).notes == chosen.notes
    fresh = plan_run("test_resnet", data)
    assert (fresh.notes, fresh.settings.batch_size) == ((), 32)

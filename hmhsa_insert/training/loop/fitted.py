"""Settings of fine-tuning as a network can follow them, and what is said of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from torch import nn

from hmhsa_insert.training.run_schema import RunSettings

# Below this share of `optimizer.lr`, a rate that was scaled to the batch size is more likely an accident than meant.
_LEAST_SHARE = 0.1


def fitted(
    settings: RunSettings, model: nn.Module, fresh: Collection[str]
) -> tuple[RunSettings, tuple[str, ...]]:
    """Return settings without what the network gives no ground for, and a note for each thing to know.

    Args:
        settings: of the run.
        model: the network, not yet wrapped.
        fresh: names of its new parameters.
    """
    tuned, notes = settings.finetune, [*_of_rate(settings)]
    if tuned.layer_decay not in (None, 1.0) and not hasattr(model, "group_matcher"):
        message = (
            f"{type(model).__name__} does not say its layers (timm's networks do): all learn at one rate"
        )
        notes.append(f"{message}, without finetune.layer_decay")
        tuned = tuned.model_copy(update={"layer_decay": None})
    if tuned.freeze_base_epochs and not fresh:
        notes.append("no parameter is new: all train from the start, without finetune.freeze_base_epochs")
        tuned = tuned.model_copy(update={"freeze_base_epochs": 0})
    return settings.model_copy(update={"finetune": tuned}), tuple(notes)


def _of_rate(settings: RunSettings) -> Iterator[str]:
    """Yield what is said of a learning rate that is scaled to the batch size."""
    chosen = settings.optimizer
    share = settings.lr / chosen.lr
    if share == 1:
        return
    scaled = f"learning rate {settings.lr:.3g}: optimizer.lr is {chosen.lr:.3g} for batches of {chosen.lr_batch_size}"
    yield f"{scaled}, and batch_size is {settings.batch_size}"
    if share < _LEAST_SHARE:
        less = f"warning: that is less than a tenth of optimizer.lr ({share:.2g} of it), and may learn next to nothing"
        yield f"{less}; with optimizer.lr_batch_size=null it is not scaled"

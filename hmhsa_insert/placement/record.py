"""Record: the maps at the ends of a network's stages, and the gradients of the loss with respect to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hmhsa_insert.placement.candidates import recording_recipe
from hmhsa_insert.placement.spill import Store
from hmhsa_insert.surgery.edit.inserted import InsertedResidual
from hmhsa_insert.surgery.edit.splice import inserted_modules
from hmhsa_insert.training.data.order import Shares
from hmhsa_insert.training.loop.seeding import UPDATE, derived_seed, kept_random_state, seed_all
from hmhsa_insert.training.task import Task

Progress = Callable[[int, int], None]


@dataclass
class Recorded:
    """What one place saw.

    Attributes:
        maps: x of each batch, N×C×H×W in float32.
        gradients: ∂L/∂y of each batch, of the same shape, y being what the block would return.
    """

    maps: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)


def record(
    run: Task,
    stages: Iterable[int],
    batches: int,
    store: Store,
    *,
    device: torch.device,
    progress: Progress | None = None,
) -> Mapping[int, Recorded]:
    """Run batches of a training through the network as it begins, without an optimizer step.

    A block in its identity form stands at each place, so that y is exactly x, and the maps that a forward computes
    itself are recorded as well as the outputs of modules. In float32, whatever precision the training has. BatchNorm
    uses the statistics of the batch in a network that learns from scratch, its running ones in one that has weights.

    Args:
        run: the training, without a recipe.
        stages: numbers of the stages.
        batches: how many batches to run.
        store: keeps what is recorded.
        device: where the network runs.
        progress: is called with (batches done, batches in all).

    Returns:
        What the end of each stage saw, by the number of the stage.
    """
    found: dict[int, Recorded] = {stage: Recorded() for stage in stages}
    with kept_random_state():
        network = replace(run, recipe=recording_recipe(found)).build()
        model = network.model.to(device).train()
        if network.has_weights:
            for module in model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in network.fresh)
        for key, module in inserted_modules(model):
            assert isinstance(module, InsertedResidual)
            module.block = nn.Identity()
            stage = int(key.rpartition(".")[2].removeprefix("at"))
            module.register_forward_hook(_Tap(found[stage], store))
        shares = Shares(run.settings.batch_size, run.settings.accumulate)
        objective = run.objective(shares)
        with closing(run.train_batches(network, shares, pin=device.type == "cuda")) as loader:
            for number, batch in enumerate(islice(loader.batches(0), batches), start=1):
                seed_all(derived_seed(run.seed, UPDATE, number), device)
                moved = objective.to_device(batch, device, torch.contiguous_format)
                objective.forward(model, moved).loss.backward()  # type: ignore[no-untyped-call]
                model.zero_grad()
                if progress is not None:
                    progress(number, batches)
    return found


class _Tap:
    """A forward hook of an inserted block that keeps its input, and the gradient with respect to its output."""

    def __init__(self, kept: Recorded, store: Store) -> None:
        self._kept, self._store = kept, store

    def __call__(self, module: InsertedResidual, args: tuple[Tensor, ...], output: Tensor) -> None:
        nchw = module.layout == "NCHW"
        x = self._store.keep(args[0] if nchw else args[0].permute(0, 3, 1, 2))

        def keep(gradient: Tensor) -> None:
            self._kept.maps.append(x)
            self._kept.gradients.append(self._store.keep(gradient if nchw else gradient.permute(0, 3, 1, 2)))

        output.register_hook(keep)  # type: ignore[no-untyped-call]

"""A network for the tests of the third task, and the run that is killed."""

import os
import signal
import sys
from typing import Any

from hmhsa_insert.models import Network, NetworkConfig

SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 240,
    "input_size": 16,
    "checkpoint_steps": 2,
    "optimizer": {"lr": 1e-2},
    "loader": {"workers": 0},
    "compute": {"device": "cpu"},
}
EDIT = {"op": "insert", "id": "attn", "at": {"stage": 2}, "block": {"type": "hmhsa", "head_dim": 4}}
RECIPE = {"version": 1, "edits": [EDIT]}


def nano(**kwargs: Any) -> Any:
    """Return a network of a few thousand parameters."""
    config = NetworkConfig((8, 12, 16, 24), (1, 1, 1, 1), (2, 2, 2, 2), (3, 3, 3, 3), "batch", "downsample")
    return Network(config, **kwargs)


if __name__ == "__main__":
    import ink  # noqa: F401  (its row in the table of tasks)
    import torch

    import hmhsa_insert as hi
    from hmhsa_insert.training.loop.updates import Loop

    torch.set_num_threads(1)
    save = Loop.save

    def save_and_die(loop: Loop) -> Any:
        """Be killed behind the first checkpoint, in the middle of an epoch."""
        save(loop)
        os.kill(os.getpid(), signal.SIGKILL)

    Loop.save = save_and_die  # type: ignore[method-assign]
    hi.train("ink_nets:nano", task="ink", recipe=RECIPE, settings=SETTINGS, folder=sys.argv[1])

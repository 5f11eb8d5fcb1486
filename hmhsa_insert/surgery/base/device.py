"""The device that is asked for."""

from __future__ import annotations

import torch

from hmhsa_insert.errors import Argument, HmhsaInsertError, Problem, first_line


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        HmhsaInsertError: no tensor can be created there.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        message = f"'{device}' cannot be used: {first_line(error)}"
        raise HmhsaInsertError(
            Problem(Argument("device"), message, "such as cpu, cuda, cuda:0 or mps")
        ) from error

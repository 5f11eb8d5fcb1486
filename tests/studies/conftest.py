import pytest
import torch

from hmhsa_insert.training import run


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # A picture takes as long as the rest of these trainings.
    monkeypatch.setattr(run, "draw_curves", lambda history, panels, path: path.touch())

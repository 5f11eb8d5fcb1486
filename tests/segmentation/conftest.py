import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    # Two threads on a machine that does other things wait for each other most of the time.
    torch.set_num_threads(1)
    torch.manual_seed(0)

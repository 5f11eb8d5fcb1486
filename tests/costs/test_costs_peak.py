"""The memory of a verification, predicted and then taken."""

import subprocess
import sys

import pytest
from torch import nn

import hmhsa_insert as hi
from hmhsa_insert.costs.peak import free_memory, verification_peak

MEASURE = """
import threading, time
import hmhsa_insert as hi
from hmhsa_insert.costs.peak import verification_peak
from hmhsa_insert.surgery.base.load import load_model

def used():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def watch():
    while running:
        most.append(max(used(), most[-1]))
        time.sleep(0.002)

size = (3, 640, 640)
base = load_model("resnet18").model
edited = hi.apply(base, "stage3", size)
hi.verify(base, edited, (3, 64, 64))  # what is made once: kernels, threads
before, running = used(), True
most = [before]
thread = threading.Thread(target=watch)
thread.start()
hi.verify(base, edited, size)
running = False
thread.join()
print(verification_peak(edited, size), most[-1] - before)
"""


@pytest.mark.long
def test_a_verification_takes_what_was_predicted():
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    predicted, taken = map(int, done.stdout.split())
    assert 0.6 * taken < predicted < 1.7 * taken, (predicted, taken)


def test_it_grows_with_the_image_and_the_model_is_untouched():
    base = hi.load_model("test_resnet").model
    edited = hi.apply(base, "stage3", (3, 64, 64))
    state = {key: tensor.clone() for key, tensor in edited.state_dict().items()}
    small, large = (verification_peak(edited, (3, side, side)) for side in (512, 1024))
    weights = sum(tensor.nbytes for tensor in state.values())
    assert 3.5 < (large - 8 / 3 * weights) / (small - 8 / 3 * weights) < 4.1
    assert all(bool((tensor == edited.state_dict()[key]).all()) for key, tensor in state.items())
    assert all(parameter.requires_grad for parameter in edited.parameters())


class Reads(nn.Module):
    """A forward that looks at its values."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_forward_that_reads_values_is_not_run_to_predict_it():
    assert verification_peak(Reads(), (3, 8, 8)) is None


def test_there_is_memory_here():
    free = free_memory()
    assert free is None or 2**20 < free < 2**60

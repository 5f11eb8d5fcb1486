"""Runs the tests' study in a process of its own, which tests stop and kill.

``study_driver.py FOLDER WORKERS EPOCHS``
"""

import sys

import torch
from study_nets import STUDY, study

from hmhsa_insert.studies.ablate import ablate
from hmhsa_insert.studies.engines.local import LocalEngine
from hmhsa_insert.studies.engines.processes import ProcessEngine

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, workers, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    quick = STUDY["settings"]["quick"] | {"epochs": epochs}
    engine = ProcessEngine(workers) if workers else LocalEngine()
    ablate(study(settings={"quick": quick}), folder, engine=engine)

"""Score a run on some of its pictures and write every number: `python evaluate_driver.py RUN WORKERS OUT`."""

import os
import sys
from pathlib import Path

from hmhsa_insert.training.processes import leave_processes
from hmhsa_insert.training.score import candidate, score

run, workers, out = sys.argv[1:]
what = candidate(run, overrides=[f"loader.workers={workers}"], allow_code=True)
found = score(what)
if os.environ.get("RANK", "0") == "0":
    parts = (found.indices, found.targets, found.predicted, found.in_top5, found.losses)
    Path(out).write_bytes(b"".join(part.tobytes() for part in parts))
leave_processes()

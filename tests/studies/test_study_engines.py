"""Engines: the same numbers from each, workers and nodes that die, drivers that are killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from study_nets import STUDY, rows, study

from hmhsa_insert.studies.ablate import ablate, make_engine
from hmhsa_insert.studies.engines.processes import ProcessEngine
from hmhsa_insert.studies.plan_study import plan_study
from hmhsa_insert.studies.problems import StudyError
from hmhsa_insert.studies.study_file import load_study
from hmhsa_insert.studies.watcher import Unwatched

HERE = Path(__file__).parent
LONGER = study(settings={"quick": STUDY["settings"]["quick"] | {"epochs": 4}})


def _driver(folder: Path, workers: int, epochs: int) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "study_driver.py"), str(folder), str(workers), str(epochs)]
    return subprocess.Popen(command, env=environment)


def _wait_for(driver: "subprocess.Popen[bytes]", folder: Path, pattern: str) -> None:
    while not list(folder.glob(pattern)):
        assert driver.poll() is None, "it ended before anything was to be seen"
        time.sleep(0.01)


def _commits(folder: Path) -> dict[str, int]:
    """Return when each trial was committed: one that ran to its end again would have been written again."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("trials/*/result.json")}


def _owners(folder: Path) -> list[int]:
    return [int(path.read_text().split()[1]) for path in folder.glob("trials/*/.owner")]


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.long
def test_workers_that_die_cost_one_trial_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are those of this process; a worker killed once is replaced, one killed again and again is a row."""
    monkeypatch.setenv("STUDY_NETS_FLAG", str(tmp_path / "flag"))
    networks = {name: f"study_nets:{name}" for name in ("irb_nano", "dies_once", "dies_always")}
    small = study(models=networks, seeds=1, variants={"plain": None})
    run = ablate(small, tmp_path / "pool", engine=ProcessEngine(2))
    found = {t.cell.model: rows(run.folder)[t.id] for t in run.planned.trials}
    assert (found["irb_nano"]["status"], found["dies_once"]["status"]) == ("done", "done")
    assert (tmp_path / "flag").exists()
    assert found["dies_always"]["status"] == "failed"
    assert found["dies_always"]["message"].startswith(
        "its process died 2 times: SIGKILL, as the system sends it"
    )
    alone = study(models={"irb_nano": networks["irb_nano"]}, seeds=1, variants={"plain": None})
    (row,) = rows(ablate(alone, tmp_path / "here").folder).values()
    assert row == found["irb_nano"]
    assert {**found["dies_once"], "id": row["id"]} == row


@pytest.mark.long
def test_ctrl_c_and_kill_9_of_a_driver_with_workers(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with _driver(folder, 2, 2) as driver:
        _wait_for(driver, folder, "trials/*/checkpoints/update-*")
        workers = _owners(folder)
        driver.send_signal(signal.SIGKILL)
    before = _commits(folder)
    deadline = time.monotonic() + 30
    while any(map(_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, workers)), "workers outlive a driver that was killed"
    with _driver(folder, 2, 2) as driver:
        _wait_for(driver, folder, "trials/*/trial.json")
        time.sleep(0.2)
        driver.send_signal(signal.SIGINT)
        assert driver.wait() in (-signal.SIGINT, 1)  # Python's own, of an exception nobody caught
    before |= _commits(folder)
    whole = ablate(STUDY, tmp_path / "whole")
    ablate(STUDY, folder)
    assert rows(folder) == rows(whole.folder)
    after = _commits(folder)
    assert {id: after[id] for id in before} == before


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
def test_a_driver_killed_five_times_ends_with_the_same_table(tmp_path: Path, workers: int) -> None:
    from typer.testing import CliRunner

    from hmhsa_insert.commands import app

    start = time.monotonic()
    with _driver(tmp_path / "whole", workers, 2) as driver:
        assert driver.wait() == 0
    seconds = time.monotonic() - start
    draw, folder, before, kills = random.Random(workers), tmp_path / "s", dict[str, int](), 0
    while kills < 5:
        with _driver(folder, workers, 2) as driver:
            _wait_for(driver, folder, "study.json")
            time.sleep(draw.uniform(0, seconds / 6))
            if driver.poll() is not None:
                break
            driver.kill()
            kills += 1
        found = _commits(folder)
        assert {id: found[id] for id in before} == before, "a trial ran to its end twice"
        before = found
    assert kills == 5
    with _driver(folder, workers, 2) as driver:
        assert driver.wait() == 0
    assert rows(folder) == rows(tmp_path / "whole")
    assert (folder / "study.json").read_bytes() == (tmp_path / "whole" / "study.json").read_bytes()
    tables = [
        CliRunner().invoke(app, ["report", str(each), "--format", "csv"]).stdout
        for each in (folder, tmp_path / "whole")
    ]
    assert tables[0] == tables[1]
    assert "attn" in tables[0]


def test_engines_that_cannot_be_used_say_why() -> None:
    planned = plan_study(load_study(study(seeds=1, variants={"plain": None})))
    with pytest.raises(StudyError, match="did you mean 'processes'"):
        make_engine("process", planned)
    with pytest.raises(StudyError, match="takes no number of workers"):
        make_engine("local", planned, workers=2)
    with pytest.raises(StudyError, match="takes no address"):
        make_engine("processes", planned, address="auto")


@pytest.mark.long
def test_ray_gives_the_same_numbers_and_keeps_failures_to_rows(tmp_path: Path) -> None:
    networks = {name: f"study_nets:{name}" for name in ("irb_nano", "exploding", "dies_always")}
    small = study(models=networks, seeds=1)
    run = ablate(small, tmp_path / "ray", engine="ray")
    found = {(t.cell.model, t.cell.variant): rows(run.folder)[t.id] for t in run.planned.trials}
    alone = ablate(study(models={"irb_nano": networks["irb_nano"]}, seeds=1), tmp_path / "here")
    assert {id: row for id, row in rows(run.folder).items() if row["status"] == "done"} == rows(alone.folder)
    assert "is not a number" in found[("exploding", "plain")]["message"]
    assert (
        found[("dies_always", "attn")]["message"]
        == "its process died, or its node was lost, at every attempt"
    )


@pytest.mark.long
def test_a_trial_goes_on_elsewhere_when_its_node_is_lost(tmp_path: Path) -> None:
    import ray
    from ray.cluster_utils import Cluster

    folder = tmp_path / "s"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    cluster.wait_for_nodes()
    lost: dict[str, Any] = {}

    class Killer(Unwatched):
        """Takes a node away as soon as both have a trial under way with a checkpoint."""

        def started(self, trial: Any) -> None:
            if len(self._seen) == 0:
                import threading

                threading.Thread(target=self._kill, daemon=True).start()
            self._seen.append(trial.id)

        def __init__(self) -> None:
            self._seen: list[str] = []

        def _kill(self) -> None:
            while len(list(folder.glob("trials/*/timing.csv"))) < 2:
                time.sleep(0.02)
            half_done = [
                p.parent for p in folder.glob("trials/*/timing.csv") if not (p.parent / "trial.json").exists()
            ]
            lost["timing"] = {p.name: (p / "timing.csv").read_text().splitlines()[1] for p in half_done}
            lost["owner"] = {p.name: (p / ".owner").read_text() for p in half_done}
            cluster.remove_node(nodes[1], allow_graceful=False)

    try:
        run = ablate(LONGER, folder, engine="ray", watcher=Killer())
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert run.count("done") == 4
    moved = [
        id for id, owner in lost["owner"].items() if (folder / "trials" / id / ".owner").read_text() != owner
    ]
    assert len(moved) == 1
    timing = (folder / "trials" / moved[0] / "timing.csv").read_text().splitlines()
    assert timing[1] == lost["timing"][moved[0]]  # its first epoch was not run again
    whole = ablate(LONGER, tmp_path / "whole")
    assert rows(folder) == rows(whole.folder)
    assert json.loads((folder / "study.json").read_text()) == json.loads(
        (whole.folder / "study.json").read_text()
    )

"""Loader processes that are killed: every image is read once, errors come through, nothing outlives a run."""

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from training_nets import few_digits, kill_me

from hmhsa_insert.errors import Problem
from hmhsa_insert.training.data.order import EvalBatches, Shares
from hmhsa_insert.training.loader import TrainLoader, reading_loader
from hmhsa_insert.training.problems import DataError
from hmhsa_insert.training.workers import WorkerLoader, WorkersError, prepare_worker


class _Numbers:
    """Reads numbers; does something at one of them, once."""

    def __init__(self, at: int = -1, act: Callable[[], Any] = lambda: None, once: Path | None = None) -> None:
        self.at, self.act, self.once = at, act, once

    def batch(self, keys: list[tuple[int, int]]) -> torch.Tensor:
        numbers = [index for _, index in keys]
        if self.at in numbers and (self.once is None or not self.once.exists()):
            if self.once is not None:
                self.once.touch()
            self.act()
        return torch.tensor(numbers)


def _loader(read: _Numbers, workers: int = 2) -> WorkerLoader[torch.Tensor]:
    return reading_loader(read.batch, EvalBatches(30, 4), workers, pin=False)


def _numbers(batches: Iterator[torch.Tensor]) -> list[int]:
    return [number for batch in batches for number in batch.tolist()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("at", [0, 13, 29])
def test_a_worker_that_is_killed_while_it_reads(tmp_path: Path, number: int, at: int) -> None:
    loader = _loader(_Numbers(at, kill_me(number), tmp_path / "once"))
    assert _numbers(iter(loader)) == list(range(30))
    assert (tmp_path / "once").exists()
    assert _numbers(iter(loader)) == list(range(30))
    loader.close()


def test_a_worker_that_ends_by_itself(tmp_path: Path) -> None:
    loader = _loader(_Numbers(9, lambda: os._exit(3), tmp_path / "once"))
    assert _numbers(iter(loader)) == list(range(30))
    loader.close()


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_workers_that_are_killed_between_batches(taken: int) -> None:
    loader = _loader(_Numbers())
    for _ in range(2):  # the second time they stand idle from the first
        batches = iter(loader)
        found = [next(batches).tolist() for _ in range(taken)]
        for process in multiprocessing.active_children():
            process.kill()  # which lets one be that has ended meanwhile, unlike os.kill
        assert [each for batch in found for each in batch] + _numbers(batches) == list(range(30))
    loader.close()


def test_idle_workers_that_are_killed_are_replaced_in_the_next_epoch() -> None:
    loader = _loader(_Numbers())
    assert _numbers(iter(loader)) == list(range(30))
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    assert _numbers(iter(loader)) == list(range(30))
    loader.close()


def test_workers_that_are_killed_again_and_again_are_given_up() -> None:
    loader = _loader(_Numbers(17, kill_me(signal.SIGKILL)))
    batches = iter(loader)
    found: list[int] = []
    with pytest.raises(WorkersError) as caught:
        found.extend(number for batch in batches for number in batch.tolist())
    assert found == list(range(16))  # all before the batch that kills
    (problem,) = caught.value.problems
    assert problem.where == "loader.workers"
    assert "3 times at the same images" in problem.message
    assert "SIGKILL" in problem.message or "Killed" in problem.message
    assert "`overrides=['loader.workers=1']` or 0" in problem.tip
    loader.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_ours_comes_through_a_worker_as_it_is(workers: int) -> None:
    def refuse() -> None:
        raise DataError(Problem("a.png", "this and the 50 images after it cannot be read"))

    with pytest.raises(DataError) as caught:
        _numbers(iter(_loader(_Numbers(5, refuse), workers)))
    assert caught.value.problems == (Problem("a.png", "this and the 50 images after it cannot be read"),)
    assert str(caught.value) == "a.png: this and the 50 images after it cannot be read"


def test_signals_to_workers_are_the_main_process_s_matter() -> None:
    others = multiprocessing.active_children()  # of other tests, about to end
    loader = _loader(_Numbers())
    batches = iter(loader)
    first = next(batches).tolist()
    processes = [each for each in multiprocessing.active_children() if each not in others]
    sender = "import os, sys; [os.kill(int(pid), int(sys.argv[1])) for pid in sys.argv[2:]]"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        pids = [str(process.pid) for process in processes]
        subprocess.run([sys.executable, "-c", sender, str(int(number)), *pids], check=True)
    time.sleep(0.5)
    assert all(process.is_alive() for process in processes)
    assert first + _numbers(batches) == list(range(30))
    for process in processes:  # as torch and multiprocessing do at exit
        process.terminate()
        process.join(10)
        assert process.exitcode == 0
    loader.close()


def test_workers_of_a_killed_run_are_gone_at_once(tmp_path: Path) -> None:
    program = (
        "import os, signal, multiprocessing as m, torch\n"
        "from hmhsa_insert.training.loader import reading_loader\n"
        "from hmhsa_insert.training.data.order import EvalBatches\n"
        "import time\n"
        "loader = reading_loader(lambda keys: torch.tensor(time.sleep(0.1) or [1]), EvalBatches(99, 1), 2, False)\n"
        "next(iter(loader)); print(*[p.pid for p in m.active_children()], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    pids = [int(pid) for pid in done.stdout.split()]
    assert (done.returncode, len(pids)) == (-signal.SIGKILL, 2)
    until = time.monotonic() + 4  # torch's own watchdog looks every 5 s
    while time.monotonic() < until and any(_runs(pid) for pid in pids):
        time.sleep(0.02)
    assert not any(map(_runs, pids))


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_two_processes_killed_at_once_in_training() -> None:
    data = few_digits()
    options: dict[str, Any] = {"channels": 1, "shares": Shares(20, 2), "seed": 1}
    transform = lambda image: torch.tensor(list(image.getdata()), dtype=torch.float32)  # noqa: E731
    alone = [b.images for b in TrainLoader(data.train, transform, workers=0, **options).batches(1, 2)]
    loader = TrainLoader(data.train, transform, workers=2, **options)
    found = []
    for batch in loader.batches(1, 2):
        found.append(batch.images)
        if len(found) in (2, 5):
            for process in multiprocessing.active_children():
                process.kill()
    assert len(found) == len(alone) == 12
    assert all(map(torch.equal, found, alone))
    loader.close()


class _Reports(Dataset):
    """What a worker prints of a thread that fails as `error` says, in place of a batch."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, error: type[Exception]) -> str:
        stream = sys.stderr = io.StringIO()
        thread_fails = threading.Thread(target=_fail, args=(error,))
        thread_fails.start()
        thread_fails.join()
        return stream.getvalue()


def _fail(error: type[Exception]) -> None:
    """Fail as the thread does that hands tensors to the main process: it calls the hook itself."""
    try:
        raise error("of a thread")
    except Exception:
        sys.excepthook(*sys.exc_info())


def test_a_worker_whose_main_process_stops_in_the_middle_of_a_batch_prints_nothing() -> None:
    loader = DataLoader(
        _Reports(),
        sampler=[ConnectionResetError, EOFError, ValueError],
        batch_size=None,
        num_workers=1,
        worker_init_fn=prepare_worker,
        multiprocessing_context="fork",
    )
    *left, other = loader
    assert left == ["", ""]
    assert "ValueError: of a thread" in other

"""Stop signals and killed loader processes: nothing is lost, nothing hangs, and what is read stays the same."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from kill_matrix import cells
from training_nets import QUICK, Told, few_digits, kill_me, train_plain

from hmhsa_insert.training import evaluation
from hmhsa_insert.training import loader as loader_module
from hmhsa_insert.training.data import Data
from hmhsa_insert.training.loop import stop
from hmhsa_insert.training.loop import updates as loop
from hmhsa_insert.training.loop.checkpoint import checkpoints
from hmhsa_insert.training.loop.stop import Interrupted, StopRequest, agreed, undisturbed
from hmhsa_insert.training.problems import Stopped

HERE = Path(__file__).parent
SAME = ("last.safetensors", "best.safetensors", "metrics.csv", "predictions.csv", "result.json")


@pytest.fixture(scope="module")
def data() -> Data:
    return few_digits()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole") / "run"
    train_plain(folder, data)
    return folder


def _same(a: Path, b: Path) -> bool:
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in SAME)


def _at_call(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, act: Callable[[], Any]
) -> None:
    original, calls = getattr(owner, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            act()
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, counted)


# --- A sample of the kill matrix, whose table is in reports/kills.md ---


def _matrix(folder: Path, kills: int, *options: str) -> None:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(HERE / "kill_matrix.py"), str(folder), "--kills", str(kills), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert len(done.stdout.splitlines()) == kills


@pytest.mark.parametrize(
    "cell",
    [
        "SIGTERM to group while reading",
        pytest.param("SIGKILL to worker while evaluation", marks=pytest.mark.long),
    ],
)
def test_some_kills(tmp_path: Path, cell: str) -> None:
    _matrix(tmp_path, 1, "--only", cell)


@pytest.mark.long
def test_every_kill(tmp_path: Path) -> None:
    _matrix(tmp_path, len(cells()))


def test_the_matrix_has_every_cell() -> None:
    names = {each.name for each in cells()}
    assert len(names) == 3 * 3 * 5 + 2 * 5
    assert {"SIGINT to worker while checkpoint", "SIGTERM twice to group while forward"} <= names


# --- Signals ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_during_the_evaluation_saves_what_was_trained(
    tmp_path: Path, data: Data, whole: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    _at_call(monkeypatch, evaluation, "_judged", 2, kill_me(number))
    # 60 images are one batch of 80: so many that the second evaluation is the one that is stopped.
    with pytest.raises(
        Stopped, match=r"stopped after update 8, saved in .*update-000000008-unevaluated"
    ) as caught:
        train_plain(tmp_path / "run", data)
    assert caught.value.signal == number
    assert [path.name for path in checkpoints(tmp_path / "run" / "checkpoints")] == [
        "update-000000008-unevaluated",
        "update-000000004",
    ]
    told = Told()
    train_plain(tmp_path / "run", data, reporter=told)
    assert told.steps == []  # no update is done again
    assert _same(tmp_path / "run", whole)


def test_a_second_signal_that_comes_soon_is_the_same_one(
    tmp_path: Path, data: Data, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)

    _at_call(monkeypatch, torch, "save", 3, twice)
    with pytest.raises(Stopped) as caught:
        train_plain(tmp_path / "run", data)
    assert caught.value.signal == signal.SIGTERM
    assert train_plain(tmp_path / "run", data).updates == 8
    assert _same(tmp_path / "run", whole)


def test_a_second_signal_that_comes_late_acts_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    request = StopRequest()
    before = signal.getsignal(signal.SIGINT)
    with request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.signal == signal.SIGINT
        monkeypatch.setattr(stop, "_PATIENCE_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            _signalled_and_waiting()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as request:
            os.kill(os.getpid(), signal.SIGHUP)
        assert request.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_wait_is_given_up_only_where_it_may_be() -> None:
    with StopRequest() as request:
        with request.interruptible(allowed=False):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted), request.interruptible():
            raise AssertionError("it had come before")
    threading.Timer(0.2, kill_me(signal.SIGTERM)).start()
    with StopRequest() as request, pytest.raises(Interrupted), request.interruptible():
        time.sleep(10)


def test_nothing_is_raised_while_it_forks() -> None:
    reached = False
    with StopRequest() as request, pytest.raises(Interrupted), request.interruptible():
        reached = _signalled_undisturbed()
    assert request.signal == signal.SIGTERM
    assert not reached


def _signalled_undisturbed() -> bool:
    seen = []
    try:
        with undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            seen.append("the end of the block")
        return True
    finally:
        assert seen == ["the end of the block"]


def _signalled_and_waiting() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


def test_images_that_never_come_do_not_keep_a_run_from_stopping(
    tmp_path: Path, data: Data, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network disk that is gone."""
    monkeypatch.setattr(loader_module.Prepared, "batch", _stuck_at(6))
    timer = threading.Timer(6, kill_me(signal.SIGTERM))
    timer.start()
    start = time.monotonic()
    settings = QUICK | {"loader": {"workers": 1}}
    with pytest.raises(Stopped, match="stopped after update 5"):
        train_plain(tmp_path / "run", data, settings=settings)
    assert time.monotonic() - start < 60
    monkeypatch.undo()
    train_plain(tmp_path / "run", data, settings=settings)
    assert _same(tmp_path / "run", whole)


def _stuck_at(call: int) -> Callable[..., Any]:
    original, calls = loader_module.Prepared.batch, 0

    def batch(self: Any, keys: Any) -> Any:
        nonlocal calls
        calls += len(keys) == 40  # of training
        if calls == call:
            time.sleep(1000)
        return original(self, keys)

    return batch


# --- Checkpoints by time ---


def test_checkpoints_are_written_by_time(tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    original = loop.Loop.save

    def noted(self: loop.Loop) -> Path:
        saved.append(self.progress.total)
        return original(self)

    monkeypatch.setattr(loop.Loop, "save", noted)
    train_plain(tmp_path / "never", data)
    assert saved == [4, 8]
    saved.clear()
    train_plain(tmp_path / "always", data, settings=QUICK | {"checkpoint_minutes": 1e-9})
    # After every update, before every evaluation, after it, and before the next epoch: the last is there already.
    assert saved == [1, 2, 3, 4, 4, 4, 4, 5, 6, 7, 8, 8, 8, 8]


def test_the_minutes_are_those_since_the_last_checkpoint(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, names = 0.0, []
    original = loop.Loop._close_update

    def slow(self: loop.Loop) -> None:
        nonlocal now
        now += 50.0  # seconds an update
        original(self)
        names.append(sorted(path.name for path in self.checkpoints.glob("update-*")))

    monkeypatch.setattr(loop.Loop, "_close_update", slow)
    monkeypatch.setattr(loop.time, "monotonic", lambda: now)
    train_plain(
        tmp_path / "run", data, settings=QUICK | {"epochs": 1, "batch_size": 20, "checkpoint_minutes": 2}
    )
    third, sixth = "update-000000003", "update-000000006"
    assert names == [[], [], [third], [third], [third], [third, sixth], [third, sixth], [third, sixth]]


def test_processes_agree_on_what_any_of_them_wishes() -> None:
    class Two:
        num_processes, device = 2, torch.device("cpu")

        def reduce(self, wishes: torch.Tensor, reduction: str) -> torch.Tensor:
            assert reduction == "sum"
            return wishes + torch.tensor([1.0, 0.0])  # those of the other one

    two: Any = Two()
    assert agreed(two, 20, False, False) == (True, False)
    assert agreed(two, None, False, True) == (True, True)
    assert agreed(two, 21, True, True) == (False, False)


def test_a_loss_of_workers_is_no_error_of_the_disk(
    tmp_path: Path, data: Data, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch raises where the main thread is when a worker dies: in the middle of a checkpoint's file."""

    def kill_workers() -> None:
        children = multiprocessing.active_children()
        assert children
        for process in children:
            process.kill()
            process.join()

    _at_call(monkeypatch, torch, "save", 3, kill_workers)
    train_plain(tmp_path / "run", data, settings=QUICK | {"loader": {"workers": 2}})
    assert _same(tmp_path / "run", whole)

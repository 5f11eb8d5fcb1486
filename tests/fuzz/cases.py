"""One case: a specimen damaged from a seed, read, and what became of it with what it took."""

from __future__ import annotations

import io
import json
import pickle
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from mutate import EVIL, mutated_text, mutated_values
from specimens import KINDS, Kind

from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.inert import visible

SLOW_S, LARGE_MB, LONG_TEXT = 5.0, 500.0, 20_000
_GIVE_UP_S = 30  # of processor time: other processes may have the machine
_MARK = Path("IMPORTED")
# Each kind as often as its share, in an order that spreads every kind over all cases.
_TURNS = sorted((turn / kind.share, place) for place, kind in enumerate(KINDS) for turn in range(kind.share))


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        number: of the case, which with the seed makes it again.
        kind: of file.
        result: accepted, refused or traceback.
        seconds: of processor time.
        megabytes: the memory it took beyond what was in use.
        imported: whether code that the file names was run.
        live: whether what was printed holds an escape code or the like, or is a flood.
        detail: of what went wrong.
    """

    number: int
    kind: str
    result: str
    seconds: float
    megabytes: float
    imported: bool
    live: bool
    detail: str


class _TooLongError(BaseException):
    """A case did not end; it is a base exception so that no reader takes it for a damaged file."""


class _Hostile:
    """Becomes a pickle that runs code where it is loaded without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__, (EVIL,)


def run_case(seed: int, number: int, originals: dict[str, bytes]) -> Outcome:
    """Damage one specimen in the current folder, read it, and put it back as it was.

    Args:
        seed: of the run.
        number: of the case.
        originals: the content of every specimen.
    """
    rng = random.Random(f"{seed}:{number}")
    kind = kind_of(number)
    path = Path(kind.path)
    deep = kind.deep is not None and rng.randrange(kind.deep_every) == 0
    path.write_bytes(damaged(rng, kind, originals[kind.path]))
    try:
        return observed(number, kind, kind.deep if deep and kind.deep else kind.read)
    finally:
        path.write_bytes(originals[kind.path])


def kind_of(number: int) -> Kind:
    """Return the kind of file that a case is of."""
    return KINDS[_TURNS[number % len(_TURNS)][1]]


def damaged(rng: random.Random, kind: Kind, original: bytes) -> bytes:
    """Return a specimen damaged at the level of text or of what the text says, half of the time each."""
    if kind.form == "text" or rng.random() < 0.5:
        return _damaged_text(rng, kind, original)
    return _STRUCTURES[kind.form](rng, original)


def _damaged_text(rng: random.Random, kind: Kind, original: bytes) -> bytes:
    if kind.form != "safetensors":
        return mutated_text(rng, original)
    length = 8 + int.from_bytes(original[:8], "little")  # numbers after the header are any numbers
    return mutated_text(rng, original[:length]) + original[length:]


def _yaml(rng: random.Random, original: bytes) -> bytes:
    value = mutated_values(rng, yaml.safe_load(original))
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")


def _json(rng: random.Random, original: bytes) -> bytes:
    return json.dumps(mutated_values(rng, json.loads(original))).encode()


def _safetensors(rng: random.Random, original: bytes) -> bytes:
    length = 8 + int.from_bytes(original[:8], "little")
    header = json.dumps(mutated_values(rng, json.loads(original[8:length]))).encode()
    return len(header).to_bytes(8, "little") + header + original[length:]


def _pickle(rng: random.Random, original: bytes) -> bytes:
    value = torch.load(io.BytesIO(original), weights_only=True)
    value = mutated_values(rng, value)
    if rng.randrange(10) == 0:
        value = {"model": value, "args": _Hostile()}
    written = io.BytesIO()
    if rng.randrange(10) == 0:
        pickle.dump(value, written)
    else:
        torch.save(value, written)
    return written.getvalue()


_STRUCTURES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "yaml": _yaml,
    "json": _json,
    "safetensors": _safetensors,
    "pickle": _pickle,
}


def observed(number: int, kind: Kind, read: Callable[[], object]) -> Outcome:
    """Return what becomes of one case when it is read."""
    before, began = _peak_from_here(), time.process_time()
    result, said, detail = "accepted", "", ""
    try:
        with _no_longer_than(_GIVE_UP_S):
            read()
    except (HmhsaInsertError, SystemExit) as error:
        result, said = "refused", str(error)
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        result, detail = "traceback", visible(f"{type(error).__name__} at {where}: {error}")[:300]
    seconds, megabytes = time.process_time() - began, _megabytes("VmHWM") - before
    imported = _MARK.exists() or EVIL in sys.modules
    _MARK.unlink(missing_ok=True)
    sys.modules.pop(EVIL, None)
    live = result == "refused" and (visible(said, lines=True) != said or len(said) > LONG_TEXT)
    return Outcome(number, kind.name, result, seconds, megabytes, imported, live, detail)


@contextmanager
def _no_longer_than(seconds: int) -> Any:
    def stop(*_: object) -> None:
        raise _TooLongError(f"no end after {seconds} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def bound_memory(more_bytes: int) -> None:
    """Have this process fail, and the machine not swap, where a case asks for more memory than that."""
    most = int(_megabytes("VmSize") * 2**20) + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _peak_from_here() -> float:
    """Begin to measure the peak anew; return the megabytes in use now."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _megabytes("VmRSS")


def _megabytes(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(name)

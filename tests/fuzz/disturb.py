"""What is left where the disk fills up, or the folder goes, under a command: ``python tests/fuzz/disturb.py``.

A disk is a tmpfs of so many bytes, mounted for the case, so this needs root. After the disturbance there must be one
message, an exit code that is not 0, and nothing half-written; with room again the same command must end with the bytes
of a run that was left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from hmhsa_insert.commands import app

NETWORK = "timm/test_resnet"
TRAIN = "--set checkpoint_steps=2 --set loader.workers=0 --set compute.device=cpu"
RECIPE = """version: 1
name: mine
edits:
  - {op: insert, id: attn, at: {stage: 3}, block: {type: hmhsa, head_dim: 16, grids: auto}}
"""
STUDY = """version: 1
name: small
models: timm/test_resnet
data: pictures
seeds: 1
settings:
  s: {epochs: 1, batch_size: 4, input_size: 32, loader: {workers: 0}, compute: {device: cpu}}
baseline: plain
variants:
  plain:
  x: mine.yaml
"""
# What is written, and how to call it: OUT is on the disk that fills up. The same words go on from what is left.
COMMANDS = {
    "apply": f"apply {NETWORK} -r mine.yaml --input-size 64 -o OUT/artifact",
    "train": f"train {NETWORK} -r mine.yaml --data pictures --config plain.yaml {TRAIN} -o OUT/run",
    "ablate": "ablate study.yaml -o OUT/study",
    "report": "report profile.json --format html -o OUT/report.html",
}
# What does not repeat: seconds, who wrote it and where, and files that only hold such.
_NOT_REPEATED = re.compile(
    r"(\.lock|\.owner|timing\.csv|environment\.json|.*\.(pkl|bin|pt|png))\Z|checkpoints/"
)
_SECONDS = re.compile(rb'"seconds": [\d.]+')
_HALF = re.compile(r"\.(writing-|old-)|\.(artifact|study|run)\.|\.part\Z")


@dataclass(frozen=True)
class Whole:
    """What a command leaves undisturbed.

    Attributes:
        digests: of the files that repeat.
        used: bytes on the disk.
        seconds: that it takes.
    """

    digests: dict[str, str]
    used: int
    seconds: float


@dataclass(frozen=True)
class Disturbed:
    """One case.

    Attributes:
        command: that was disturbed.
        how: a full disk or a removed folder, and when.
        code: its exit status.
        said: the message.
        problems: what should not be; empty where all is well.
    """

    command: str
    how: str
    code: int
    said: str
    problems: tuple[str, ...]


@contextlib.contextmanager
def disk(size: int) -> Iterator[Path]:
    """Mount a disk of `size` bytes for a while."""
    with tempfile.TemporaryDirectory() as where:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", where], check=True)
        try:
            yield Path(where)
        finally:
            subprocess.run(["umount", "-l", where], check=True)


def enlarge(where: Path) -> None:
    """Make room on a disk."""
    subprocess.run(["mount", "-o", "remount,size=1g", str(where)], check=True)


def can_mount() -> bool:
    """Return True where this process may mount a disk of its own."""
    try:
        with disk(1 << 20):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def prepare() -> None:
    """Write what the commands read into the current folder."""
    Path("mine.yaml").write_text(RECIPE)
    Path("study.yaml").write_text(STUDY)
    Path("plain.yaml").write_text("epochs: 1\nbatch_size: 4\ninput_size: 32\n")
    for number in range(24):
        path = Path("pictures", "train" if number < 16 else "val", "ab"[number % 2], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (10 * number, 60, 90)).save(path)
    record = {"kind": "profile", "name": "net", "input_size": [3, 64, 64], "num_params": 10**6, "macs": 10**9}
    larger = {"macs": 4 * 10**9, "macs_modules_only": 4 * 10**9, "top1": 60.0, "input_size": [3, 128, 128]}
    Path("profile.json").write_text(
        json.dumps([{**record, "macs_modules_only": 10**9, "top1": 50.0}, {**record, **larger}])
    )


def run(
    name: str, out: Path, meanwhile: Callable[[], object] = lambda: None, tell: Path | None = None
) -> tuple[int, str]:
    """Run a command in a process of its own; return its exit status and what it printed.

    Args:
        name: of the command.
        out: what stands for OUT in it.
        meanwhile: is called here while it runs.
        tell: a file for the names of the modules it imported.
    """
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            code = _here(name, out)
            if tell is not None:
                tell.write_text("\n".join(name for name in sys.modules if name.split(".")[0] != "__main__"))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        meanwhile()
        _, status = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode(errors="replace")


def _here(name: str, out: Path) -> int:
    """Run a command in this process; return its exit status, 99 for a traceback."""
    torch.set_num_threads(1)
    try:
        app(COMMANDS[name].replace("OUT", str(out)).split(), standalone_mode=True)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 99
    return 0


def warm_up(names: Iterable[str] = COMMANDS) -> None:
    """Import what the commands import, so that children need not.

    Nothing is run in this process: autograd refuses to run in a child where it ran before the fork.
    """
    for name in names:
        with tempfile.TemporaryDirectory() as out:
            listed = Path(out, "modules")
            Path(out, "out").mkdir()
            code, said = run(name, Path(out, "out"), tell=listed)
            assert code == 0, said
            for module in listed.read_text().split():
                with contextlib.suppress(Exception):
                    importlib.import_module(module)
    gc.freeze()


def written(out: Path) -> dict[str, str]:
    """Return the digest of every file that repeats."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.is_file() and not _NOT_REPEATED.search(name):
            content = _SECONDS.sub(b"", path.read_bytes()).replace(str(out).encode(), b"OUT")
            found[name] = hashlib.sha256(content).hexdigest()
    return found


def half_written(out: Path) -> list[str]:
    """Return what is under a name that a file has only while it is written."""
    return [str(path.relative_to(out)) for path in out.rglob("*") if _HALF.search(path.name)]


def _judged(name: str, how: str, out: Path, code: int, said: str, whole: Whole) -> Disturbed:
    """Look at what is left, go on with room again, and compare."""
    problems = [f"half-written: {left}" for left in half_written(out)]
    if code in (0, 99) or code < 0 or "Traceback" in said:
        problems += [] if code == 0 and written(out) == whole.digests else [f"exit {code}: {said[-300:]}"]
    elif "error: " not in said:
        problems.append(f"no message: {said[-300:]}")
    again, told = run(name, out) if not (name == "apply" and code == 0) else (0, "")
    if again != 0:
        problems.append(f"does not go on: {told[-300:]}")
    now = written(out)
    names = sorted({*now, *whole.digests})
    problems += [f"other bytes: {each}" for each in names if now.get(each) != whole.digests.get(each)]
    message = " ".join(said[said.find("error: ") :].split())[:200] if code else "ended before"
    return Disturbed(name, how, code, message, tuple(problems))


def full_disk(name: str, size: int, whole: Whole) -> Disturbed:
    """Run a command on a disk of `size` bytes, then again with room."""
    with disk(size) as where:
        code, said = run(name, where)
        left = half_written(where)
        enlarge(where)
        found = _judged(name, f"full at {size:,} bytes", where, code, said, whole)
        more = tuple(
            f"half-written: {each}" for each in left if f"half-written: {each}" not in found.problems
        )
        return Disturbed(found.command, found.how, found.code, found.said, found.problems + more)


def removed_folder(name: str, after: float, whole: Whole) -> Disturbed:
    """Run a command and remove what it writes after so many seconds, then run it again."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        out.mkdir()

        def remove() -> None:
            time.sleep(after)
            for path in list(out.iterdir()):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

        code, said = run(name, out, remove)
        if code == 0:  # it ended before, or wrote all of it afterwards
            for path in out.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        found = _judged(name, f"removed after {after:.2f} s", out, code, said, whole) if code else None
        return found or Disturbed(name, f"removed after {after:.2f} s", 0, "ended before", ())


def references(names: Iterable[str] = COMMANDS) -> dict[str, Whole]:
    """Return what each of the commands leaves undisturbed."""
    warm_up(names)
    found = {}
    for name in names:
        with disk(1 << 30) as where:
            began = time.monotonic()
            code, said = run(name, where)
            assert code == 0, said
            seconds = time.monotonic() - began
            used = sum(path.stat().st_size for path in where.rglob("*") if path.is_file())
            found[name] = Whole(written(where), used, seconds)
    return found


def main() -> None:
    """Run as the command line says, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disks", type=int, default=40)
    parser.add_argument("--removals", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, help="write the table there, after every case")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    found: list[Disturbed] = []
    if options.report is not None:
        options.report = options.report.absolute()
    with tempfile.TemporaryDirectory() as here, contextlib.chdir(here):
        prepare()
        known = references()
        for disturbed in _disturbed(known, options, rng):
            found.append(disturbed)
            print(disturbed, flush=True)
            if options.report is not None:
                options.report.write_text(_report(found, known), encoding="utf-8")
    sys.exit(any(each.problems for each in found))


def _disturbed(
    known: dict[str, Whole], options: argparse.Namespace, rng: random.Random
) -> Iterator[Disturbed]:
    """Yield what becomes of disks of random sizes under every command, then of folders removed at random moments."""
    for number in range(options.disks):
        name = list(COMMANDS)[number % len(COMMANDS)]
        yield full_disk(name, 4096 * rng.randrange(1, known[name].used // 4096 + 2), known[name])
    for number in range(options.removals):
        name = ("train", "ablate", "apply", "train")[number % 4]
        yield removed_folder(name, rng.uniform(0, known[name].seconds), known[name])


def _report(found: list[Disturbed], known: dict[str, Whole]) -> str:
    lines = ["# Full disks and removed folders", ""]
    lines += [
        "`python tests/fuzz/disturb.py` (as root: a disk is a tmpfs). After each disturbance the same command is run"
    ]
    lines += ["again with room, and must end with the bytes of an undisturbed run.", ""]
    whole = ", ".join(f"{name} {each.used / 2**20:.1f} MiB" for name, each in known.items())
    bad = sum(bool(each.problems) for each in found)
    lines += [f"{len(found)} disturbances, {bad} with problems. Undisturbed: {whole}.", ""]
    lines += ["| command | disturbance | exit | what was said | problems |", "|---|---|---:|---|---|"]
    for each in found:
        said = re.sub(r"/tmp/\S*?/(out/)?", "", each.said).replace("|", "\\|")
        problems = "; ".join(each.problems).replace("|", "\\|").replace("\n", " ") or "none"
        lines.append(f"| {each.command} | {each.how} | {each.code} | {said} | {problems} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

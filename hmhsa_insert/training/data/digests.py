"""Digests of what is in files: computed once, and kept beside what shows that a file was written to since."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from hmhsa_insert.files.collector import resting_collector
from hmhsa_insert.files.machine import cores
from hmhsa_insert.training.data.tree import File, open_path

Watch = Callable[[int, int], None]

# How a fingerprint begins that covers what is in the files; those of earlier versions cover names and classes.
CONTENTS = "contents-"
_BYTES = 16
_UNREADABLE = b"unreadable".ljust(_BYTES)
# Fewer files are read again faster than anyone waits, and leave nothing behind.
KEPT_FROM = 1000
_MOST_KEPT = 64
# A file written to within a clock's tick of being read would look untouched afterwards; of a FAT, two seconds.
_TICK_NS = 2_000_000_000
_AT_ONCE = 256
_PIECE = 1 << 22
_WAITED, _LARGE = 1.5, 1 << 16
_MAGIC, _BETWEEN = b"hmhsa-insert digests 1\n", b"\0\0"


def file_digests(root: Path, files: Sequence[File], watch: Watch | None = None) -> list[bytes]:
    """Return a digest of what is in each file; one that cannot be read has a digest of its own.

    Args:
        root: that the files' paths are below.
        files: to read; those that were read before and not written to since are not read again.
        watch: called with how many are done, and of how many.
    """
    if len(files) < KEPT_FROM or (kept := _kept_file(root)) is None:
        return list(_read_all(root, files, watch))
    with resting_collector(), _alone(kept):
        keys = [_key(file) for file in files]
        known = _load(kept)
        missing = [(key, file) for key, file in zip(keys, files, strict=True) if key not in known]
        if missing:
            start = time.time_ns()
            read = _read_all(root, [file for _, file in missing], watch)
            known.update(zip((key for key, _ in missing), read, strict=True))
            settled = [
                key for key, file in zip(keys, files, strict=True) if max(file.stamp[:2]) < start - _TICK_NS
            ]
            _save(kept, settled, known)
    return [known[key] for key in keys]


def covers_contents(fingerprint: str) -> bool:
    """Return True if a fingerprint of data covers what is in its files."""
    return fingerprint.startswith(CONTENTS)


def _key(file: File) -> bytes:
    said = f"{file.path}\0{file.size} {file.stamp[0]} {file.stamp[1]} {file.stamp[2]} {file.offset}"
    return said.encode("utf-8", "surrogateescape")


def _read_all(root: Path, files: Sequence[File], watch: Watch | None) -> Iterator[bytes]:
    """Yield the digests. Several threads read files that are waited for or large, and one what memory holds already."""
    where = str(root)

    def read(group: Sequence[File]) -> list[bytes]:
        return [_digest(open_path(where, file), file) for file in group]

    began, computed = time.perf_counter(), time.thread_time()
    first = read(files[:_AT_ONCE])
    waited = time.perf_counter() - began > _WAITED * (time.thread_time() - computed)
    large = sum(file.size for file in files) > _LARGE * len(files)
    yield from first
    done = len(first)
    if watch is not None and first:  # before the rest is asked for: it may end this
        watch(done, len(files))
    groups = [files[start : start + _AT_ONCE] for start in range(done, len(files), _AT_ONCE)]
    with ThreadPoolExecutor(min(8, cores())) as pool:
        # Threads that do not wait for a disk, and hash little, wait for each other.
        for found in (pool.map if waited or large else map)(read, groups):
            yield from found
            done += len(found)
            if watch is not None:
                watch(done, len(files))


def _digest(path: str, file: File) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return _UNREADABLE
    try:
        digest = hashlib.sha256(os.pread(handle, min(_PIECE, file.size), file.offset))
        for place in range(_PIECE, file.size, _PIECE):
            digest.update(os.pread(handle, min(_PIECE, file.size - place), file.offset + place))
        return digest.digest()[:_BYTES]
    except OSError:
        return _UNREADABLE
    finally:
        os.close(handle)


def _kept_file(root: Path) -> Path | None:
    """Return where digests of a folder are kept; None where a user has no home that can be written to."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hmhsa-insert" / "digests"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:32]
    return folder / f"{name}.digests" if os.access(folder, os.W_OK) else None


@contextmanager
def _alone(kept: Path) -> Iterator[None]:
    """Let one process read the files, and the others of a run wait for what it keeps."""
    lock = FileLock(kept.with_suffix(".lock"))
    try:
        lock.acquire()
    except (OSError, NotImplementedError):  # a file system without locks: each reads for itself
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _load(kept: Path) -> dict[bytes, bytes]:
    """Return what is kept, by key; nothing if the file is damaged or of another version."""
    try:
        whole = kept.read_bytes()
    except OSError:
        return {}
    head, rest = whole[: len(_MAGIC) + _BYTES], whole[len(_MAGIC) + _BYTES :]
    if head != _MAGIC + hashlib.sha256(rest).digest()[:_BYTES]:
        return {}
    count = int.from_bytes(rest[:8], "little")
    start = len(rest) - _BYTES * count
    keys = rest[8:start].split(_BETWEEN)[:count]
    return dict(zip(keys, (rest[at : at + _BYTES] for at in range(start, len(rest), _BYTES)), strict=True))


def _save(kept: Path, keys: Sequence[bytes], known: dict[bytes, bytes]) -> None:
    """Write the digests whole or not at all; a disk that is full or read-only only costs time at the next start."""
    rest = len(keys).to_bytes(8, "little") + _BETWEEN.join(keys) + b"".join(known[key] for key in keys)
    with suppress(OSError):
        handle, writing = tempfile.mkstemp(dir=kept.parent, prefix=".writing-")
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(rest).digest()[:_BYTES] + rest)
        os.replace(writing, kept)
        for old in sorted(kept.parent.glob(f"*{kept.suffix}"), key=os.path.getmtime)[:-_MOST_KEPT]:
            old.unlink()

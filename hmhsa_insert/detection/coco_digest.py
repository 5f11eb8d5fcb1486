"""Digests of a data set of detection: of its annotations, and of what is in the images' files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from hmhsa_insert.detection.annotations import GIVEN, ImageRecord
from hmhsa_insert.training.data.digests import CONTENTS, Watch, file_digests
from hmhsa_insert.training.data.tree import File, stamp_of


def digest_of_annotations(splits: Iterable[Sequence[ImageRecord]]) -> str:
    """Return a digest of images and annotations, and of nothing that was computed for them.

    Args:
        splits: the images of each split, in order.
    """
    digest = hashlib.sha256()
    for records in splits:
        for record in records:
            used = [{key: each[key] for key in each if key != GIVEN} for each in record.annotations]
            text = [record.id, record.file_name, record.height, record.width, used]
            digest.update(json.dumps(text, sort_keys=True).encode())
    return digest.hexdigest()[:16]


def digest_with_contents(
    names: str, splits: Iterable[tuple[Path, Sequence[ImageRecord]]], watch: Watch | None
) -> str:
    """Return a digest of annotations and of the contents of the images' files.

    Args:
        names: the digest of the annotations.
        splits: the folder and the images of each split, in order.
        watch: called with how many files are read, and of how many.
    """
    digest = hashlib.sha256(names.encode())
    for folder, records in splits:
        files = []
        for record in records:
            status = (folder / record.file_name).stat()
            files.append(File(record.file_name, status.st_size, stamp_of(status)))
        digest.update(b"".join(file_digests(folder, files, watch)))
    return CONTENTS + digest.hexdigest()[:24]

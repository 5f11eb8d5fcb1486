"""Print what folders are read as, a line each: `python tree_driver.py ROOT…`, with a hash seed of its own."""

import json
import sys

from hmhsa_insert.errors import HmhsaInsertError
from hmhsa_insert.training.data import open_scored

for root in sys.argv[1:]:
    try:
        data = open_scored(root)
        images = [[data.val.name(i), int(target)] for i, target in enumerate(data.val.targets)]  # type: ignore[union-attr]
        said = [data.classes, data.fingerprint, images, [note for note in data.notes if root not in note]]
    except HmhsaInsertError as error:
        said = [str(error).replace(root, "ROOT")]
    print(json.dumps(said))

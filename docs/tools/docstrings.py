"""How mkdocstrings reads our docstrings: ``Example:`` is Google's ``Examples:``, and roles are code.

A role with a text of its own, ``:func:`hi.apply <hmhsa_insert.surgery.apply.apply>```, is that text; one that begins
with ``~``, its last name; any other, its names but the first, lower-case ones, which are modules.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object


class Examples(Extension):
    """Write our docstrings as the parser wants them."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring is not None:
            text = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
            obj.docstring.value = re.sub(r":\w+:`([^`]+)`", lambda found: f"`{_shown(found[1])}`", text)


def _shown(target: str) -> str:
    """Return what a reader sees of the target of a role."""
    title, _, path = target.partition(" <")
    if path:
        return title
    return target.rpartition(".")[2] if target.startswith("~") else re.sub(r"^(?:[a-z_]\w*\.)+", "", target)

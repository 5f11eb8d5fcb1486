"""One edit of a recipe: what is put in or taken away, where, and how it starts."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field
from typing import Any

from hmhsa_insert.errors import listed
from hmhsa_insert.recipe.marks import UNREADABLE, Findings, KeyPath
from hmhsa_insert.recipe.scalars import shown
from hmhsa_insert.recipe.schema import (
    EDIT_KEYS,
    EDIT_REQUIRED,
    OPS,
    RESERVED_IDS,
    Init,
    Keep,
    OpName,
    Position,
)
from hmhsa_insert.recipe.selector import Selector, read_selector
from hmhsa_insert.recipe.values import choice, mapping, missing

BlockSpec = dict[str, Any]

_BLOCKS_TIP = "write block: {type: hmhsa, head_dim: 32}; `hmhsa-insert blocks` lists types and options"
_MISSING_TIPS = {
    "op": "say what to do: 'insert', 'replace' or 'remove'",
    "id": "name it, such as id: attn; new weights are found under this name",
    "at": "say where, such as at: {stage: 3, block: last}",
    "block": _BLOCKS_TIP,
}
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Edit:
    """One edit; options that its operation does not take are None.

    Attributes:
        op: ``insert``, ``replace`` or ``remove``.
        id: the name of the new child module, unique within the recipe.
        at: the places.
        block: the block's ``type`` and options, not yet checked by the block; None for ``remove``.
        init: for ``insert``: ``identity`` (unless said otherwise) or ``random``.
        position: for ``insert``: ``after`` (unless said otherwise) or ``before`` the site.
        keep: for ``replace`` of a downsample: ``none`` (unless said otherwise) or ``blocks``.
        index: its place in the recipe's list of edits.
    """

    op: OpName
    id: str
    at: Selector
    block: BlockSpec | None = None
    init: Init | None = None
    position: Position | None = None
    keep: Keep | None = None
    index: int = field(default=0, compare=False)

    @property
    def path(self) -> KeyPath:
        """Where it stands, for :meth:`Recipe.where`: ``recipe.where((*edit.path, "block", "head_dim"))``."""
        return ("edits", self.index)

    def to_dict(self) -> dict[str, Any]:
        """Return the edit as it would be written in a recipe, defaults written out."""
        options = {"block": self.block, "init": self.init, "position": self.position, "keep": self.keep}
        stated = {key: value for key, value in options.items() if value is not None}
        return {"op": self.op, "id": self.id, "at": self.at.to_dict(), **stated}


def read_edit(findings: Findings, index: int, value: Any) -> Edit | None:
    """Read one item of ``edits``; None if anything is wrong with it, which is then among the findings."""
    path: KeyPath = ("edits", index)
    if not isinstance(value, dict):
        if value is not UNREADABLE:
            findings.add(path, f"an edit must be a mapping with 'op', 'id' and 'at', found {shown(value)}")
        return None
    known = mapping(findings, path, value, EDIT_KEYS, "an edit")
    op = choice(findings, (*path, "op"), known.get("op", UNREADABLE), tuple(OPS))
    required = (*EDIT_REQUIRED, "block") if op and OPS[op].has_block else EDIT_REQUIRED
    for key in missing(value, required, EDIT_KEYS):
        findings.add(path, f"an edit has no '{key}'", _MISSING_TIPS[key])
    _check_id(findings, (*path, "id"), known.get("id", UNREADABLE))
    at = read_selector(findings, (*path, "at"), known.get("at", UNREADABLE))
    _check_block(findings, (*path, "block"), known.get("block", UNREADABLE))
    options = {
        key: choice(findings, (*path, key), known.get(key, UNREADABLE), _CHOICES[key]) for key in _CHOICES
    }
    if op:
        _check_fit(findings, path, op, at, known)
    if op is None or at is None or not findings.clean(path):
        return None
    return Edit(op, known["id"], at, known.get("block"), **_with_defaults(op, at, options), index=index)


_CHOICES = {"init": ("identity", "random"), "position": ("after", "before"), "keep": ("none", "blocks")}


def _with_defaults(op: OpName, at: Selector, options: dict[str, str | None]) -> dict[str, Any]:
    taken = [key for key in OPS[op].options if key != "keep" or at.kind == "downsample"]
    return {key: options[key] or _CHOICES[key][0] for key in taken}


def _check_fit(
    findings: Findings, path: KeyPath, op: OpName, at: Selector | None, known: dict[str, Any]
) -> None:
    """Check what only the keys together can tell: options of another operation, kinds it does not take."""
    for other, rule in OPS.items():
        for key in rule.options:
            if key in known and key not in OPS[op].options:
                findings.add(
                    (*path, key), f"'{key}' does not go with '{op}'", f"it goes with '{other}'", key=True
                )
    if "block" in known and not OPS[op].has_block:
        findings.add((*path, "block"), f"'block' does not go with '{op}': nothing is put in", key=True)
    if at is None:
        return
    if at.kind not in OPS[op].kinds:
        tip = f"'{op}' takes {listed(OPS[op].kinds)}"
        findings.add((*path, "at", at.kind), f"'{op}' does not take '{at.kind}'", tip, key=True)
    elif "keep" in known and op == "replace" and at.kind != "downsample":
        findings.add(
            (*path, "keep"), f"'keep' does not go with '{at.kind}'", "it goes with 'downsample'", key=True
        )


def _check_id(findings: Findings, path: KeyPath, value: Any) -> None:
    if value is UNREADABLE:
        return
    if not isinstance(value, str) or not _ID.match(value):
        message = f"'id' must be a letter, then letters, digits or underscores, found {shown(value)}"
        findings.add(path, message)
    elif value in RESERVED_IDS or keyword.iskeyword(value):
        owner = "a word of Python" if keyword.iskeyword(value) else "a name that modules already have"
        findings.add(
            path, f"'id' cannot be '{value}': it is {owner}", f"call it '{value}_block', for example"
        )


def _check_block(findings: Findings, path: KeyPath, value: Any) -> None:
    if value is UNREADABLE:
        return
    if not isinstance(value, dict):
        findings.add(path, f"'block' must be a mapping with a 'type', found {shown(value)}", _BLOCKS_TIP)
    elif "type" not in value:
        findings.add(path, "'block' has no 'type'", _BLOCKS_TIP)
    elif value["type"] is not UNREADABLE and (not isinstance(value["type"], str) or not value["type"]):
        message = f"'type' must be the name of a block, found {shown(value['type'])}"
        findings.add((*path, "type"), message, "`hmhsa-insert blocks` lists them")

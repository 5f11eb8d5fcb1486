"""One edit of a recipe: what is put in or taken away, where, and how it starts."""

from __future__ import annotations

import keyword
import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from hmhsa_insert.errors import listed
from hmhsa_insert.recipe.explain import Found, Tip, misspelled, refusal, validated
from hmhsa_insert.recipe.fields import Read
from hmhsa_insert.recipe.marks import UNREADABLE, Findings, KeyPath
from hmhsa_insert.recipe.scalars import shown
from hmhsa_insert.recipe.schema import OPS, RESERVED_IDS, Init, Keep, OpName, Position
from hmhsa_insert.recipe.selectors.base import Selector
from hmhsa_insert.recipe.selectors.table import SELECTORS, kind_in, kinds_of, read_selector, region_kinds

BlockSpec = dict[str, Any]

_BLOCKS_TIP = "write block: {type: hmhsa, head_dim: 32}; `hmhsa-insert blocks` lists types and options"


_LETTERS = "[A-Za-z][A-Za-z0-9_]*"


def _read_id(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(_LETTERS, value):
        message = f"'id' must be a letter, then letters, digits or underscores, found {shown(value)}"
        raise refusal([Found((), message)], value)
    if value in RESERVED_IDS or keyword.iskeyword(value):
        owner = "a word of Python" if keyword.iskeyword(value) else "a name that modules already have"
        tip = f"call it '{value}_block', for example"
        raise refusal([Found((), f"'id' cannot be '{value}': it is {owner}", tip)], value)
    return value


_ID = Read(_read_id, {"type": "string", "pattern": f"^{_LETTERS}$"})


def _read_block(value: Any) -> Any:
    if not isinstance(value, dict):
        message = f"'block' must be a mapping with a 'type', found {shown(value)}"
        raise refusal([Found((), message, _BLOCKS_TIP)], value)
    name = value.get("type", "")
    if "type" not in value:
        raise refusal([Found((), "'block' has no 'type'", _BLOCKS_TIP)], value)
    if name is not UNREADABLE and (not isinstance(name, str) or not name):
        message = f"'type' must be the name of a block, found {shown(name)}"
        raise refusal([Found(("type",), message, "`hmhsa-insert blocks` lists them")], value)
    return value


class Edit(BaseModel):
    """One edit; equal to another one that would be written alike."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    op: Annotated[OpName, Tip(f"say what to do: {listed(list(OPS))}")] = Field(
        description=f"What to do: {'; '.join(f'{op}: {rule.meaning}' for op, rule in OPS.items())}."
    )
    id: Annotated[str, _ID, Tip("name it, such as id: attn; new weights are found under this name")]
    """The edit's name, unique within the recipe; the new child module at each site is called by it."""
    at: Annotated[Selector, Read(read_selector), Tip("say where, such as at: {stage: 3, block: last}")]
    """Where: exactly one kind of place, and what narrows it."""
    block: Annotated[BlockSpec | None, Read(_read_block)] = None
    """The block to put in: its type and that type's options."""
    init: Init = "identity"
    """insert only. identity (default): the network computes exactly what it did, until training moves
    the block's gamma from 0. random: the block acts at once."""
    position: Position = "after"
    """insert only. after (default) or before the site."""
    keep: Keep = "none"
    """replace with a downsample only. none (default): the whole region between the stages is replaced
    and its weights are lost. blocks: the host's blocks stay, their strides become 1, the new block goes
    before them."""

    _index: int = PrivateAttr(0)

    @property
    def index(self) -> int:
        """Its place in the recipe's list of edits."""
        return self._index

    @property
    def path(self) -> KeyPath:
        """Where it stands, for :meth:`Recipe.where`: ``recipe.where((*edit.path, "block", "head_dim"))``."""
        return ("edits", self._index)

    def to_dict(self) -> dict[str, Any]:
        """Return the edit as it would be written in a recipe, defaults written out."""
        taken = [key for key in OPS[self.op].options if key != "keep" or self.at.is_region]
        block = {"block": self.block} if self.block is not None else {}
        options = {key: getattr(self, key) for key in taken}
        return {"op": self.op, "id": self.id, "at": self.at.to_dict(), **block, **options}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Edit) and self.to_dict() == other.to_dict()


def read_edit(findings: Findings, index: int, value: Any) -> Edit | None:
    """Read one item of ``edits``; None if anything is wrong with it, which is then among the findings."""
    path: KeyPath = ("edits", index)
    if not isinstance(value, dict):
        if value is not UNREADABLE:
            findings.add(path, f"an edit must be a mapping with 'op', 'id' and 'at', found {shown(value)}")
        return None
    edit = validated(findings, Edit, value, "an edit", path)
    for found in _misfits(value):
        findings.add((*path, *found.path), found.message, found.tip, key=found.key)
    if edit is None or not findings.clean(path):
        return None
    edit._index = index
    return edit


def _misfits(value: dict[str, Any]) -> list[Found]:
    """Return what only the keys together show: options of another operation, kinds it does not take."""
    op, kind = value.get("op"), kind_in(value.get("at"))
    if not isinstance(op, str) or op not in OPS:
        return []
    found = [
        Found((key,), f"'{key}' does not go with '{op}'", f"it goes with '{other}'", key=True)
        for other, rule in OPS.items()
        for key in rule.options
        if key in value and key not in OPS[op].options
    ]
    has_block = OPS[op].has_block
    if has_block and "block" not in value and not misspelled("block", set(value) - set(Edit.model_fields)):
        found.append(Found((), "an edit has no 'block'", _BLOCKS_TIP))
    if "block" in value and not has_block:
        found.append(Found(("block",), f"'block' does not go with '{op}': nothing is put in", key=True))
    found += _misfits_inside(value["at"], value) if kind is not None else []
    if kind is not None and kind not in kinds_of(op):
        tip = f"'{op}' takes {listed(kinds_of(op))}"
        found.append(Found(("at", kind), f"'{op}' does not take '{kind}'", tip, key=True))
    elif kind is not None and "keep" in value and op == "replace" and not SELECTORS[kind].is_region:
        tip = f"it goes with {listed(region_kinds())}"
        found.append(Found(("keep",), f"'keep' does not go with '{kind}'", tip, key=True))
    return found


def _misfits_inside(at: dict[str, Any], value: dict[str, Any]) -> list[Found]:
    """Return what does not go together where a block is put inside of branches."""
    if "after" in at and "inside" not in at:
        return [Found(("at", "after"), "'after' says where in a branch", "add inside: branch", key=True)]
    if "inside" in at and value.get("position", "after") == "before":
        tip = "'after' under 'at' says where: after: 1, after: branch"
        return [Found(("position",), "'position: before' does not go with 'inside'", tip, key=True)]
    return []

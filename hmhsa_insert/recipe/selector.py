"""The selector of an edit, ``at``: which places of a network it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hmhsa_insert.errors import listed, near
from hmhsa_insert.recipe.marks import UNREADABLE, Findings, KeyPath
from hmhsa_insert.recipe.match import BlockChoice, Every, Scalar, any_matches, glob_problem, has_attributes
from hmhsa_insert.recipe.scalars import shown
from hmhsa_insert.recipe.schema import BLOCK_CHOICES, KINDS, MOST_STAGE, NARROWING, Kind
from hmhsa_insert.recipe.values import mapping, texts, whole, wholes

_EXAMPLE = "{stage: 3, block: last}"
_SCHEMA_TIP = "`hmhsa-insert recipe schema` describes every key"
_STAGES_TIP = "`hmhsa-insert stages MODEL` lists a model's stages"


@dataclass(frozen=True)
class Selector:
    """One kind of place, and what narrows it.

    Attributes:
        kind: ``stage``, ``stride``, ``downsample``, ``module``, ``class`` or ``node``.
        numbers: the stages, strides or downsamples; empty for ``stage: all`` and for the other kinds.
        names: the globs, class names (last parts) or fx node names; empty for the other kinds.
        block: which blocks of each stage; read for stage and stride only.
        exclude: globs over qualified names to leave out.
        expect: how many sites must match; at least one if None.
        in_stage: keep only modules inside these stages; anywhere if empty.
        with_: keep only modules whose attributes have these values.
    """

    kind: Kind
    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    block: BlockChoice = "last"
    exclude: tuple[str, ...] = ()
    expect: int | None = None
    in_stage: tuple[int, ...] = ()
    with_: Mapping[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict)

    def picks_number(self, number: int) -> bool:
        """Return True if a stage, stride or downsample is meant; ``stage: all`` means every stage from 1 on."""
        return number in self.numbers if self.numbers else number >= 1

    def picks_module(self, qualname: str, module: object) -> bool:
        """Return True if a module is meant: by its name or class, its attributes, and not excluded.

        ``in_stage`` is not looked at: it needs the located stages.
        """
        name = type(module).__name__
        named = any_matches(self.names, qualname) if self.kind == "module" else name in self.names
        return named and has_attributes(module, self.with_) and not self.excludes(qualname)

    def excludes(self, qualname: str) -> bool:
        """Return True if `qualname` is left out by ``exclude``."""
        return any_matches(self.exclude, qualname)

    def to_dict(self) -> dict[str, Any]:
        """Return the selector as it would be written in a recipe."""
        value: Any = _single(self.numbers or self.names) if self.numbers or self.names else "all"
        written: dict[str, Any] = {self.kind: value}
        if self.kind in NARROWING["block"][1]:
            written["block"] = (
                {"every": self.block.k} if isinstance(self.block, Every) else _listed(self.block)
            )
        if self.exclude:
            written["exclude"] = _single(self.exclude)
        if self.expect is not None:
            written["expect"] = self.expect
        if self.in_stage:
            written["in_stage"] = _single(self.in_stage)
        if self.with_:
            written["with"] = {name: _listed(value) for name, value in self.with_.items()}
        return written


def read_selector(findings: Findings, path: KeyPath, value: Any) -> Selector | None:
    """Read an edit's ``at``; None if its kind of place cannot be told."""
    if not isinstance(value, dict):
        if value is not UNREADABLE:
            message = f"'at' must be a mapping such as {_EXAMPLE}, found {shown(value)}"
            findings.add(path, message, _SCHEMA_TIP)
        return None
    known = mapping(findings, path, value, (*KINDS, *NARROWING), "'at'")
    kinds = [kind for kind in KINDS if kind in known]
    if not kinds:
        if len(known) == len(value):
            findings.add(path, f"'at' names no place: it needs {listed(list(KINDS))}", _SCHEMA_TIP)
        return None
    kind, *others = sorted(kinds, key=list(known).index)
    for other in others:
        message = f"'at' names two kinds of place, '{kind}' and '{other}'"
        findings.add((*path, other), message, "keep one, and write a second edit for the other", key=True)
    for key, (_, fitting) in NARROWING.items():
        if key in known and kind not in fitting:
            message = f"'{key}' does not go with '{kind}'"
            findings.add((*path, key), message, f"it goes with {listed(fitting)}", key=True)
    return _selector(findings, path, kind, known)


def _selector(findings: Findings, path: KeyPath, kind: Kind, known: dict[str, Any]) -> Selector:
    stated = known[kind]
    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    if kind == "stage":
        numbers = () if stated == "all" else _stages(findings, (*path, kind), stated, 0, ", or 'all'")
    elif kind == "stride":
        numbers = wholes(findings, (*path, kind), stated, 1, tip=lambda _: _STAGES_TIP)
    elif kind == "downsample":
        numbers = _stages(findings, (*path, kind), stated, 1)
    else:
        what, problem = _NAME_RULES[kind]
        names = texts(findings, (*path, kind), stated, what, problem)
        if kind == "class":
            names = tuple(dict.fromkeys(name.rpartition(".")[2] for name in names))
    expect = known.get("expect", UNREADABLE)
    inside = known.get("in_stage", UNREADABLE)
    return Selector(
        kind,
        numbers,
        names,
        block=_block(findings, (*path, "block"), known.get("block", "last")),
        exclude=texts(findings, (*path, "exclude"), known.get("exclude", UNREADABLE), *_NAME_RULES["module"]),
        expect=whole(findings, (*path, "expect"), expect, 1),
        in_stage=_stages(findings, (*path, "in_stage"), inside, 0),
        with_=_attributes(findings, (*path, "with"), known.get("with", {})),
    )


def _class_problem(name: str) -> str:
    parts = name.split(".")
    return "" if all(part.isidentifier() for part in parts) else "write it as nn.GELU or GELU"


def _node_problem(name: str) -> str:
    return "" if name.isidentifier() else "fx names hold letters, digits and underscores"


_NAME_RULES = {
    "module": ("a glob over module names", glob_problem),
    "class": ("a class name", _class_problem),
    "node": ("the name of an fx node", _node_problem),
}


def _stages(findings: Findings, path: KeyPath, value: Any, least: int, also: str = "") -> tuple[int, ...]:
    def tip(found: Any) -> str:
        if isinstance(found, int) and found > MOST_STAGE and found & (found - 1) == 0:
            stage = found.bit_length() - 2
            return f"stride {found} is stage {stage}: stage k has stride 2^(k+1); {_STAGES_TIP}"
        return _STAGES_TIP

    return wholes(findings, path, value, least, MOST_STAGE, tip, also)


def _block(findings: Findings, path: KeyPath, value: Any) -> BlockChoice:
    if isinstance(value, str) and (match := re.fullmatch(r"every: *([0-9]{1,6})", value)):
        value = {"every": int(match[1])}
    if isinstance(value, dict) and value:
        known = mapping(findings, path, value, ("every",), "'block'")
        return Every(whole(findings, (*path, "every"), known.get("every", UNREADABLE), 1) or 1)
    if isinstance(value, list) or (isinstance(value, int) and not isinstance(value, bool)):
        return wholes(findings, path, value, None) or "last"
    for word in BLOCK_CHOICES:
        if word == value:
            return word
    if value is not UNREADABLE:
        expected = "'last', 'first', 'each', {every: k} or a list of indices"
        message = f"'block' must be {expected}, found {shown(value)}"
        findings.add(path, message, near(str(value), BLOCK_CHOICES, most=1))
    return "last"


def _attributes(findings: Findings, path: KeyPath, value: Any) -> dict[str, Scalar | tuple[Scalar, ...]]:
    if not isinstance(value, dict):
        if value is not UNREADABLE:
            message = f"'with' must be a mapping such as {{kernel_size: 3, stride: 1}}, found {shown(value)}"
            findings.add(path, message)
        return {}
    wanted: dict[str, Scalar | tuple[Scalar, ...]] = {}
    for name, item in value.items():
        if not name.isidentifier():
            findings.add((*path, name), f"{shown(name)} is not the name of an attribute", key=True)
        items = item if isinstance(item, list) else [item]
        if not items or any(isinstance(each, (dict, list)) for each in items):
            message = f"'{name}' must be a value or a list of values, found {shown(item)}"
            findings.add((*path, name), message)
        wanted[name] = tuple(items) if isinstance(item, list) else item
    return wanted


def _single(items: tuple[Any, ...]) -> Any:
    return items[0] if len(items) == 1 else list(items)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

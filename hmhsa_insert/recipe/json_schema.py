"""The recipe language as a JSON Schema (2020-12), for editors that complete and check YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmhsa_insert.recipe.schema import (
    BLOCK_CHOICES,
    EDIT_KEYS,
    EDIT_REQUIRED,
    KINDS,
    MOST_STAGE,
    NARROWING,
    OPS,
    RECIPE_KEYS,
    RECIPE_REQUIRED,
    VERSION,
    Kind,
    OpName,
)

_Schema = dict[str, Any]


def json_schema(block_schemas: Mapping[str, Mapping[str, Any]] | None = None) -> _Schema:
    """Return the JSON Schema of a recipe.

    It is a first check while writing; :func:`hmhsa_insert.recipe.parse_recipe` has the last word.

    Args:
        block_schemas: the schema of each block type's options, free of references:
            ``{"hmhsa": {"properties": …, "required": …}}``. A name that ends in ``/*`` stands for every
            name that begins so. Without it any block with a ``type`` passes.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hmhsa-insert recipe",
        "type": "object",
        "required": list(RECIPE_REQUIRED),
        "additionalProperties": False,
        "properties": _described(
            RECIPE_KEYS,
            version={"const": VERSION},
            name={"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$"},
            description={"type": "string"},
            edits={"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/edit"}},
        ),
        "$defs": {
            "edit": _edit(),
            "selector": _selector(),
            "block": _block(block_schemas or {}),
            "globs": _one_or_list({"type": "string", "minLength": 1}),
            "stages": _one_or_list({"type": "integer", "minimum": 0, "maximum": MOST_STAGE}),
        },
    }


def _edit() -> _Schema:
    return {
        "type": "object",
        "required": list(EDIT_REQUIRED),
        "additionalProperties": False,
        "properties": _described(
            EDIT_KEYS,
            op={"enum": list(OPS)},
            id={"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]*$"},
            at={"$ref": "#/$defs/selector"},
            block={"$ref": "#/$defs/block"},
            init={"enum": ["identity", "random"], "default": "identity"},
            position={"enum": ["after", "before"], "default": "after"},
            keep={"enum": ["none", "blocks"], "default": "none"},
        ),
        "allOf": [_op_rule(op) for op in OPS],
    }


def _op_rule(op: OpName) -> _Schema:
    rule = OPS[op]
    others = {option for other in OPS.values() for option in other.options} - set(rule.options)
    barred = sorted(others | (set() if rule.has_block else {"block"}))
    at: _Schema = {"properties": {kind: False for kind in KINDS if kind not in rule.kinds}}
    fitting: _Schema = {"properties": {"at": at, **dict.fromkeys(barred, False)}}
    if rule.has_block:
        fitting["required"] = ["block"]
    if "keep" in rule.options:
        needs = {"properties": {"at": {"required": ["downsample"]}}}
        fitting["dependentSchemas"] = {"keep": needs}
    return {"if": {"properties": {"op": {"const": op}}, "required": ["op"]}, "then": fitting}


def _selector() -> _Schema:
    names = {"$ref": "#/$defs/globs"}
    stages = {"$ref": "#/$defs/stages"}
    downsample = {"type": "integer", "minimum": 1, "maximum": MOST_STAGE}
    kinds: dict[Kind, _Schema] = {
        "stage": {"anyOf": [stages, {"const": "all"}]},
        "stride": _one_or_list({"type": "integer", "minimum": 1}),
        "downsample": _one_or_list(downsample),
        "module": names,
        "class": names,
        "node": names,
    }
    narrowing: dict[str, _Schema] = {
        "block": _block_choice(),
        "exclude": names,
        "expect": {"type": "integer", "minimum": 1},
        "in_stage": stages,
        "with": {"type": "object", "additionalProperties": {"not": {"type": "object"}}},
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **_described(KINDS, **kinds),
            **_described({key: meaning for key, (meaning, _) in NARROWING.items()}, **narrowing),
        },
        "oneOf": [{"required": [kind]} for kind in KINDS],
        "dependentSchemas": {
            key: {"anyOf": [{"required": [kind]} for kind in fitting]}
            for key, (_, fitting) in NARROWING.items()
            if len(fitting) < len(KINDS)
        },
    }


def _block_choice() -> _Schema:
    every = {
        "type": "object",
        "required": ["every"],
        "additionalProperties": False,
        "properties": {"every": {"type": "integer", "minimum": 1}},
    }
    words = [{"enum": list(BLOCK_CHOICES)}, {"type": "string", "pattern": "^every: *[0-9]+$"}]
    return {"default": "last", "anyOf": [*words, every, _one_or_list({"type": "integer"})]}


def _block(schemas: Mapping[str, Mapping[str, Any]]) -> _Schema:
    block: _Schema = {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"type": "string", "minLength": 1}},
    }
    if schemas:
        names = {name: _type_schema(name) for name in schemas}
        block["properties"]["type"] = {"type": "string", "anyOf": list(names.values())}
        block["allOf"] = [
            {
                "if": {"properties": {"type": names[name]}, "required": ["type"]},
                "then": {**schema, "properties": {**schema.get("properties", {}), "type": names[name]}},
            }
            for name, schema in schemas.items()
        ]
    return block


def _type_schema(name: str) -> _Schema:
    return {"pattern": f"^{name[:-1]}."} if name.endswith("/*") else {"const": name}


def _one_or_list(item: _Schema) -> _Schema:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}]}


def _described(meanings: Mapping[Any, str], **schemas: _Schema) -> _Schema:
    return {key: {"description": meaning, **schemas[key]} for key, meaning in meanings.items()}

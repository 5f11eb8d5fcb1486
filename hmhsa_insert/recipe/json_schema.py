"""The recipe language as a JSON Schema (2020-12), for editors that complete and check YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from hmhsa_insert.recipe.edit import Edit
from hmhsa_insert.recipe.recipe import RecipeFile
from hmhsa_insert.recipe.schema import OPS, OpName
from hmhsa_insert.recipe.selectors.table import SELECTORS, kinds_of, kinds_with, region_kinds

_Schema = dict[str, Any]


def json_schema(block_schemas: Mapping[str, Mapping[str, Any]] | None = None) -> _Schema:
    """Return the JSON Schema of a recipe.

    It is a first check while writing; :func:`hmhsa_insert.recipe.parse_recipe` has the last word.

    Args:
        block_schemas: the schema of each block type's options, free of references:
            ``{"hmhsa": {"properties": …, "required": …}}``. A name that ends in ``/*`` stands for every
            name that begins so. Without it any block with a ``type`` passes.
    """
    recipe, edit = _schema(RecipeFile), _schema(Edit)
    recipe["properties"]["edits"]["items"] = {"$ref": "#/$defs/edit"}
    edit["properties"]["at"]["$ref"] = "#/$defs/selector"
    edit["properties"]["block"]["$ref"] = "#/$defs/block"
    edit["allOf"] = [_op_rule(op) for op in OPS]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **recipe,
        "title": "hmhsa-insert recipe",
        "$defs": {"edit": edit, "selector": _selector(), "block": _block(block_schemas or {})},
    }


def _schema(model: type[BaseModel]) -> _Schema:
    """Return the schema of a model without titles, and without defaults that say that a key is left out."""
    written = model.model_json_schema()
    for each in written["properties"].values():
        each.pop("title", None)
        if not each.get("default", True):
            del each["default"]
    return {key: value for key, value in written.items() if key not in ("title", "description")}


def _op_rule(op: OpName) -> _Schema:
    rule = OPS[op]
    others = {option for other in OPS.values() for option in other.options} - set(rule.options)
    barred = sorted(others | (set() if rule.has_block else {"block"}))
    at: _Schema = {"properties": {kind: False for kind in SELECTORS if kind not in kinds_of(op)}}
    fitting: _Schema = {"properties": {"at": at, **dict.fromkeys(barred, False)}}
    if rule.has_block:
        fitting["required"] = ["block"]
    if "keep" in rule.options:
        fitting["dependentSchemas"] = {"keep": {"properties": {"at": _one_of(region_kinds())}}}
    return {"if": {"properties": {"op": {"const": op}}, "required": ["op"]}, "then": fitting}


def _selector() -> _Schema:
    properties: _Schema = {}
    for selector in SELECTORS.values():
        properties |= _schema(selector)["properties"]
    narrowing = {key: kinds_with(key) for key in properties if key not in SELECTORS}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**{kind: properties[kind] for kind in SELECTORS}, **properties},
        "oneOf": [{"required": [kind]} for kind in SELECTORS],
        "dependentSchemas": {
            key: _one_of(kinds) for key, kinds in narrowing.items() if len(kinds) < len(SELECTORS)
        },
    }


def _one_of(kinds: tuple[str, ...]) -> _Schema:
    return {"anyOf": [{"required": [kind]} for kind in kinds]}


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

"""Plain values as YAML, a recipe's above all, in one form that reads back as the same values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from hmhsa_insert.recipe.scalars import RESOLVERS


def dump_plain(values: Mapping[str, Any]) -> str:
    """Write plain values, a key a line."""
    text: str = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def dump_yaml(recipe: dict[str, Any]) -> str:
    """Write a recipe's plain values: a key a line in the recipe and its edits, deeper values in one."""
    edits = [{key: _flow(value) for key, value in edit.items()} for edit in recipe["edits"]]
    text: str = yaml.dump(
        {**recipe, "edits": edits},
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=110,
    )
    return text


class _FlowDict(dict[str, Any]):
    """A mapping to write in braces."""


class _Dumper(yaml.SafeDumper):
    """Quotes every string that YAML 1.1 or 1.2 would take for something else, so that all readers agree."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Unicode's line ends, which PyYAML writes raw and reads back as spaces, are escaped in double quotes only.
        style = '"' if re.search("[\x85\u2028\u2029]", data) else None
        node: yaml.ScalarNode = self.represent_scalar("tag:yaml.org,2002:str", data, style=style)
        return node


_Dumper.add_representer(str, _Dumper.represent_str)
for _tag, _pattern, _first in RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)
_Dumper.add_representer(
    _FlowDict, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=True)
)


def _flow(value: Any) -> Any:
    return _FlowDict(value) if isinstance(value, dict) else value

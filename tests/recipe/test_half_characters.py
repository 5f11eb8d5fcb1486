"""Half a character as a key, which an escape in YAML can write: one line with its place."""

from __future__ import annotations

import pytest

from hmhsa_insert.errors import RecipeError
from hmhsa_insert.recipe import load_recipe

TEXT = """version: 1
edits:
- op: insert
  id: attn
  at: {stage: 3}
  block:
    type: hmhsa
    head_dim: 16
    "\\uD800": 1
"""


def test_half_a_character_as_a_key_is_refused_with_its_place(tmp_path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(TEXT)
    with pytest.raises(RecipeError, match="half a character") as caught:
        load_recipe(path)
    assert f"{path}:9:5" in str(caught.value)

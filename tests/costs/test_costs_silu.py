"""The committed table on SiLU and GELU repeats."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import timm
import torch

import hmhsa_insert.models  # noqa: F401  (registers them with timm)
from hmhsa_insert.costs.memory import training_memory
from hmhsa_insert.surgery.apply import apply

TABLE = Path(__file__).parents[2] / "reports" / "silu_memory.csv"


@pytest.mark.long
def test_both_functions_of_torch_save_what_the_table_says():
    with torch.device("meta"):
        silu = timm.create_model("transcnn_small")
    gelu = apply(silu, "gelu")
    assert not any(isinstance(module, torch.nn.SiLU) for module in gelu.modules())
    table = pd.read_csv(TABLE).set_index(["activation", "computed_by", "side"])["saved_bytes_per_image"]
    for name, model in {"SiLU": silu, "GELU": gelu}.items():
        assert training_memory(model, (3, 256, 256)).saved_bytes_per_image == table[name, "torch", 256]


def test_the_table_has_the_difference_only_where_functions_are_written_out():
    table = pd.read_csv(TABLE)
    saved = table.pivot_table(
        index=["computed_by", "side"], columns="activation", values="saved_bytes_per_image"
    )
    more = (saved["GELU"] / saved["SiLU"]).dropna()
    assert (more["torch"] == 1).all()
    assert (more["elementary operations"] > 1.18).all()

"""What others published: as it was, with sizes that are counted again."""

from __future__ import annotations

import pytest

from hmhsa_insert.reports.published import literature_records, published_records

ROWS = {record["name"]: record for record in literature_records()}
QUICK = ("botnet26t_256.c1_in1k",)


def test_every_row_has_a_source_and_a_training() -> None:
    assert len(ROWS) == 32
    for record in ROWS.values():
        assert record["kind"] == "published"
        assert "timm results" in record["source"]
        assert record["group"].rpartition(".")[2] == record["name"].rpartition(".")[2] or (
            record["name"] == "maxvit_tiny_tf_224.in1k"
        )
        assert 70 < record["top1"] < 90


def test_a_network_stands_beside_its_preset() -> None:
    from hmhsa_insert.models import CONFIGS

    assert {record["preset"] for record in published_records()} <= CONFIGS.keys()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in ROWS]
)
def test_sizes_are_what_is_counted_today(name: str) -> None:
    from hmhsa_insert.costs.count import count
    from hmhsa_insert.surgery.artifact.artifact import open_model

    record = ROWS[name]
    counts = count(open_model(f"timm/{name}", meta=True).model, tuple(record["input_size"])).per_sample
    for field in ("num_params", "macs", "macs_modules_only"):
        assert getattr(counts, field) == record[field]

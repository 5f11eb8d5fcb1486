"""The tidy frame: what is a row, what is compared with what, and what stays blank."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest
from report_records import RECORDS, latency, memory, profile, training

from hmhsa_insert.reports import frame as frames
from hmhsa_insert.reports import growth
from hmhsa_insert.reports.data import to_csv
from hmhsa_insert.reports.frame import as_records, size_label, tidy
from hmhsa_insert.reports.growth import growth_frame, growth_table
from hmhsa_insert.reports.parts import parts_frame, parts_table
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.published import literature_records, published_records
from hmhsa_insert.reports.render import render
from hmhsa_insert.reports.sources import load_records


def test_profiles_and_training_runs_of_a_method_are_one_row():
    frame = tidy(RECORDS)
    assert list(frame["method"]) == ["resnet18", "resnet18 + stage3", "lonely"]
    assert list(frame["top1"])[:2] == [70.0, 71.25]
    assert pd.isna(frame["top1"][2])
    assert list(frame["num_params"]) == [11_689_512, 11_689_512, 999_999]
    assert frame["num_params"].dtype == "Int64"


def test_differences_are_to_the_base_of_the_group():
    row = as_records(tidy(RECORDS))[1]
    assert row["delta_macs"] == pytest.approx(0.1)
    assert row["delta_num_params"] == 0.0
    assert row["delta_saved_bytes_per_image"] == pytest.approx(0.1)
    assert row["delta_top1"] == pytest.approx(1.25)
    # Of paired rounds, not of the two medians (12 / 10).
    assert row["delta_latency_ms"] == pytest.approx(0.25)
    for other in (0, 2):
        assert not [
            key for key, value in as_records(tidy(RECORDS))[other].items() if "delta" in key and value
        ]


def test_a_base_without_a_value_compares_nothing():
    frame = tidy([profile("resnet18", macs=None), profile("b"), profile("c", macs=2 * 1_814_073_344)])
    assert frame["delta_macs"].isna().all()
    assert list(frame["delta_num_params"])[1:] == [0.0, 0.0]


def test_of_two_base_rows_the_first_is_the_base_whatever_it_lacks():
    second = profile("resnet18", num_params=7, macs=100)
    frame = tidy([profile("resnet18", macs=None), second, profile("b", macs=150)])
    assert frame["delta_macs"].isna().all()


def test_a_base_row_without_the_score_hides_no_run_that_has_it():
    more = {"group": "resnet18", "data": "digits"}
    unfinished = training("resnet18", None, num_params=1, **more)
    records = [unfinished, training("resnet18", 70.0, num_params=2, **more), training("b", 72.5, **more)]
    assert as_records(tidy(records))[-1]["delta_top1"] == 2.5


def test_a_published_figure_in_a_group_of_ours_is_compared_with_nothing():
    published = profile("b", kind="published", source="a paper", macs=2 * 1_814_073_344)
    frame = tidy([profile("resnet18"), published])
    assert list(frame["published"]) == [False, True]
    assert frame["delta_macs"].isna().all()


def test_sizes_are_compared_each_with_their_own():
    records = [
        profile(n, s, macs=m) for n, s, m in (("a", 256, 99), ("resnet18", 224, 100), ("a", (200, 300), 1))
    ]
    frame = tidy([*records, profile("resnet18", 256, macs=90)])
    assert [(row["method"], row["height"], row["width"]) for row in as_records(frame)] == [
        ("resnet18", 224, 224),
        ("resnet18", 256, 256),
        ("a", 200, 300),
        ("a", 256, 256),
    ]
    assert pd.isna(frame["delta_macs"][2])
    assert frame["delta_macs"][3] == pytest.approx(0.1)


def test_contradicting_records_are_rows_of_their_own():
    frame = tidy([training("a", 70.0), training("a", 71.0), profile("a", group=None)])
    assert list(frame["top1"]) == [70.0, 71.0]
    assert frame["macs"].notna().tolist() == [True, False]


def test_published_figures_keep_their_source_and_are_compared_with_nothing():
    frame = tidy(published_records())
    assert frame["published"].all()
    assert frame["source"].notna().all()
    assert len(frame) == 8
    assert not frame.filter(like="delta").notna().any().any()
    row = as_records(frame)[5]
    assert (row["method"], row["num_params"], row["macs_modules_only"], row["top1"]) == (
        "HAT-Net-Small",
        25_700_000,
        4_300_000_000,
        82.6,
    )
    # Nobody published TransCNN's: blank, not zero.
    assert frame["macs_modules_only"][:4].isna().all()
    assert frame["macs"].isna().all()


def test_the_frame_knows_where_times_were_measured():
    frame = tidy([profile("a", inference=latency(5.0)), profile("b")])
    assert (
        frame["measured_on"][0]
        == "Some CPU, 2 threads, torch 2.15.0, float32, channels-last, batch 1, wall time"
    )
    assert pd.isna(frame["measured_on"][1])


def test_published_blocks_are_compared_within_one_network_and_training():
    rows = {row["method"]: row for row in as_records(tidy([profile("resnet18"), *literature_records()]))}
    assert rows["seresnet33ts.ra2_in1k"]["delta_top1"] == pytest.approx(80.380 - 79.216)
    assert rows["seresnet50.a1_in1k"]["delta_top1"] == pytest.approx(80.012 - 80.382)
    assert rows["seresnet50.a3_in1k"]["delta_top1"] == pytest.approx(77.036 - 78.052)
    delta = rows["gcresnet33ts.ra2_in1k"]["delta_num_params"]
    assert delta == pytest.approx(19_880_698 / 19_676_256 - 1)
    # Of BoTNet's training there is no plain network, and ResNet-50-T has another stem than ResNet-50.
    for name in ("botnet26t_256.c1_in1k", "ecaresnet50t.a3_in1k", "resnet33ts.ra2_in1k", "resnet18"):
        assert rows[name]["delta_top1"] is None


def test_a_network_of_ours_is_no_base_of_published_ones():
    ours = training("resnet50.a1_in1k", 50.0, num_params=1, macs=1)
    rows = [
        row
        for row in as_records(tidy([ours, *literature_records()]))
        if row["method"] == "seresnet50.a1_in1k"
    ]
    assert rows[0]["delta_top1"] == pytest.approx(80.012 - 80.382)


def test_an_empty_frame_has_its_columns():
    assert tidy([]).empty
    assert {"method", "macs", "delta_top1"} <= set(tidy([]).columns)


def test_csv_and_json_hold_everything_unrounded():
    frame = tidy([*RECORDS, *published_records()])
    lines = to_csv(frame).splitlines()
    assert lines[0].startswith("method,group,height,width,num_params,")
    assert lines[3].startswith("lonely,lonely,224,224,999999,")
    assert lines[3].endswith(",,,")
    rows = json.loads(render([*RECORDS, *published_records()], "json"))["rows"]
    assert rows[0]["macs"] == 1_814_073_344
    assert rows[2]["top1"] is None
    assert len(rows) == 11


def test_growth_is_between_neighbouring_sizes():
    records = [
        profile("a", side, macs=macs, memory=memory(saved))
        for side, macs, saved in ((448, 1000, 64.0), (112, 20, 4.0), (224, 84, 16.0))
    ]
    frame = tidy([*records, profile("b"), *published_records()])
    grown = as_records(growth_frame(frame))
    assert [(row["from_size"], row["to_size"]) for row in grown] == [("112", "224"), ("224", "448")]
    assert [row["pixels"] for row in grown] == [4.0, 4.0]
    assert [row["macs"] for row in grown] == [pytest.approx(4.2), pytest.approx(1000 / 84)]
    assert [row["saved_bytes_per_image"] for row in grown] == [4.0, 4.0]
    assert [row["latency_ms"] for row in grown] == [None, None]
    texts = [[cell.text for cell in row.cells] for row in growth_table(frame).rows]
    assert texts[0] == ["a", "112 → 224", "4.00", "4.20", "4.00", "", "linear"]
    assert texts[1][-1] == "faster"
    assert not growth_table(tidy([profile("b")])).rows


def test_frames_are_read_as_often_whatever_the_number_of_methods(monkeypatch: pytest.MonkeyPatch):
    def compared(methods: int) -> tuple[int, int]:
        read: list[int] = []
        same: list[int] = []
        for at, counted, seen in ((growth, "as_records", read), (frames, "_is_same", same)):
            original = getattr(frames, counted)
            monkeypatch.setattr(at, counted, lambda *given, of=original, to=seen: to.append(1) or of(*given))
        records = [profile(f"m{n}", side, macs=side) for n in range(methods) for side in (64, 32)]
        frame = tidy([*records, *records])
        grown = growth_frame(frame)
        monkeypatch.undo()
        assert list(grown["method"]) == [f"m{n}" for n in range(methods)]
        assert set(grown["from_size"]) == {"32"}
        return len(read), len(same)

    assert compared(2) == (1, 4)
    assert compared(50) == (1, 100)


def module(name: str, macs: int) -> dict[str, object]:
    return {"name": name, "num_params": macs // 10, "macs": macs, "macs_modules_only": macs, "activations": 1}


MODULES = [
    module(*row) for row in (("", 1), ("conv1", 20), ("layer1.0.conv1", 300), ("layer1.0.att.q", 4000))
]
MODULES.append(module("layer10", 50_000))


def whole(**more: object) -> dict[str, object]:
    saved = {
        "batch": 2,
        "saved_bytes_per_image": 5.0,
        "by_module": {"conv1": 2, "layer1.0.att": 8},
        "peak": None,
    }
    return profile("resnet18", by_module=MODULES, memory=saved, macs=54_321, **more)


def test_parts_are_the_children_by_default_and_add_up():
    parts = parts_frame([whole()])
    assert list(parts["part"]) == ["conv1", "layer1", "layer10", "elsewhere"]
    assert list(parts["macs"]) == [20, 4300, 50_000, 1]
    assert parts["macs"].sum() == 54_321
    assert list(parts["saved_bytes_per_image"]) == [1.0, 4.0, 0.0, 0.0]


def test_named_parts_take_the_nearest_ancestor():
    named = {"stage 1": ["layer1"], "hmhsa": ["layer1.0.att"], "head": ["nothing"]}
    parts = parts_frame([whole(parts=named)])
    assert dict(zip(parts["part"], parts["macs"], strict=True)) == {
        "elsewhere": 50_021,
        "stage 1": 300,
        "hmhsa": 4000,
    }
    assert parts_frame([whole(parts={"all": [""]})])["macs"].tolist() == [54_321]


def test_a_table_of_parts_ends_with_the_total_of_the_profile():
    rows = [
        [cell.text for cell in row.cells]
        for row in parts_table(parts_frame([whole(), profile("empty")])).rows
    ]
    assert rows[-1] == ["resnet18", "total", "224", "5.4K", "54.3K", "0.0 KiB", "100.0%"]
    assert rows[1] == ["resnet18", "layer1", "224", "430", "4.3K", "0.0 KiB", "7.9%"]


def test_parts_without_memory_leave_it_blank():
    bare = profile("resnet18", by_module=MODULES)
    rows = [[cell.text for cell in row.cells] for row in parts_table(parts_frame([bare])).rows]
    assert {row[5] for row in rows} == {""}


def test_records_are_read_from_files_and_folders(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps(RECORDS[0]))
    (tmp_path / "a.json").write_text(json.dumps({"records": RECORDS[1:3]}))
    (tmp_path / "plan.json").write_text(json.dumps({"kind": "plan"}))
    assert load_records([tmp_path]) == [*RECORDS[1:3], RECORDS[0]]
    assert load_records([tmp_path / "b.json", tmp_path / "a.json"]) == [RECORDS[0], *RECORDS[1:3]]


def test_every_unreadable_source_is_reported(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"kind": "plan"}')
    with pytest.raises(ReportError) as caught:
        load_records([tmp_path / "missing.json", tmp_path / "broken.json", tmp_path / "other.json"])
    messages = [problem.message for problem in caught.value.problems]
    assert [message.split(":")[0] for message in messages] == [
        "cannot be read",
        "it is damaged",
        "holds no record of a profile or a training run",
    ]


def test_size_labels():
    assert (size_label(224, 224), size_label(320, 480)) == ("224", "320×480")


def test_reports_know_no_torch():
    code = "import sys, hmhsa_insert.reports.render, hmhsa_insert.reports.html; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

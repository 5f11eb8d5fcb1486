"""Tables of what was measured and no more, where it is spent, and what needs attention."""

from __future__ import annotations

from report_records import latency, memory, profile, training

from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.reports.columns import columns_of, measured
from hmhsa_insert.reports.findings import findings
from hmhsa_insert.reports.frame import as_records, tidy
from hmhsa_insert.reports.parts import parts_frame, parts_tables
from hmhsa_insert.reports.plots import against_macs, part_bars
from hmhsa_insert.reports.render import render, report_tables

BLOCKS = [
    {"name": name, "num_params": 5, "macs": macs, "macs_modules_only": macs, "activations": 1}
    for name, macs in (("a", 100), ("b", 300))
]
SPENT = [profile(name, by_module=BLOCKS, macs=400) for name in ("resnet18", "resnet18 + x")]


def test_only_what_was_measured_has_a_table():
    assert list(measured(tidy([profile("resnet18")]))) == ["Counts, one image"]
    kept = memory(5.0) | {"largest_batch": 100}
    full = tidy([profile("resnet18", memory=kept, inference=latency(3.0) | {"p10_ms": 2.0}, device_gib=8.0)])
    tables = measured(full)
    assert list(tables) == ["Counts, one image", "Memory of a training step", "Inference"]
    # One row is compared with nothing; nobody gave p90 or a peak.
    assert tables["Memory of a training step"] == ["method", "size", "memory", "batch"]
    assert tables["Inference"] == ["method", "size", "latency", "latency_p10", "throughput"]
    assert {key for keys in tables.values() for key in keys} < set(columns_of(full))


def test_the_largest_batch_says_what_it_fits_into():
    kept = memory(5.0) | {"largest_batch": 100}
    text = render([profile("resnet18", memory=kept, device_gib=8.0)], "md", sections=True)
    assert "fits into 8 GiB" in text.replace("\n  ", " ")
    assert "|resnet18| 224|0.0 KiB|  100|" in text


def test_each_profile_has_a_table_of_its_parts():
    first, second = parts_tables(parts_frame(SPENT))
    assert second.title == "Where it is spent: resnet18 + x at 224"
    assert [header.text for header in first.headers] == ["Part", "#Params", "#MACs", "Memory", "MACs share"]
    assert [[cell.text for cell in row.cells] for row in first.rows] == [
        ["a", "5", "100", "", "25.0%"],
        ["b", "5", "300", "", "75.0%"],
        ["total", "10", "400", "", "100.0%"],
    ]
    assert (len(first.shown().notes), len(second.shown().notes)) == (0, 1)
    assert parts_tables(parts_frame([])) == []


def test_a_page_has_one_table_of_parts_that_sorts():
    assert render(SPENT, "html", parts=True).count("Where it is spent") == 1
    assert render(SPENT, "md", parts=True).count("Where it is spent") == 2


def test_findings_are_told_below_the_last_table():
    disputed = profile("a", crosscheck={"finding": "fvcore counts 3"}, unknown_ops=["x.y", "z"])
    assert findings([disputed, profile("b"), training("a", 50.0)]) == [
        "a at 224: fvcore counts 3",
        "a at 224: operations without a formula, their cost in none of the numbers: x.y, z",
    ]
    assert report_tables([disputed], parts=True)[-1].notes[-2:] == tuple(findings([disputed]))


def test_accuracies_are_compared_on_the_same_data_only():
    runs = [
        training("a", 90.0, data="digits"),
        training("a", 70.0, data="cifar10"),
        training("a + x", 91.0, group="a", data="digits"),
        training("a + y", 72.0, group="a", data="cifar10"),
        training("a + z", 50.0, group="a", data="imagenet"),
    ]
    # The cost of the base is known from another row, of a network with more classes.
    rows = as_records(tidy([profile("a", group="a", num_params=9), *[r | {"num_params": 5} for r in runs]]))
    assert [(row["method"], row["delta_top1"]) for row in rows if row["top1"] is not None] == [
        ("a", None),
        ("a", None),
        ("a + x", 1.0),
        ("a + y", 2.0),
        ("a + z", None),
    ]


def test_many_profiles_have_bars_and_labels_for_the_bases_only():
    blocks = [
        {"name": f"part{n}", "num_params": 1, "macs": 10**9 * n, "macs_modules_only": 1, "activations": 1}
        for n in range(1, 12)
    ]
    many = [
        profile(f"net{n}", group="net0" if n < 28 else f"net{n}", by_module=blocks, memory=memory(5.0))
        for n in range(32)
    ]
    bars = part_bars(parts_frame(many)).svg
    assert [f"net{n} @ 224" in bars for n in (0, 1, 31)] == [True, False, True]
    # Eleven parts, eight colors: the four smallest are one.
    assert [name in bars for name in ("part11", "part5", "part4", "others")] == [True, True, False, True]
    points = against_macs(tidy(many), QUANTITIES["memory"]).svg
    assert [f"<!-- net{n} -->" in points for n in (0, 1, 31)] == [True, False, True]

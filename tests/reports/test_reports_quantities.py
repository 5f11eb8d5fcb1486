"""What a new number and a new format need: a row each, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_records import RECORDS, profile, run, texts
from study_folders import done, listed, small_study, write_study
from torch import Tensor, nn

from hmhsa_insert.costs.count import count
from hmhsa_insert.costs.counters import COUNTERS, counted
from hmhsa_insert.costs.memory import training_memory
from hmhsa_insert.costs.profile import profile_all
from hmhsa_insert.quantities import QUANTITIES, RESERVED, by_field, ordered
from hmhsa_insert.quantity import COUNT, INFERENCE, MEMORY, Quantity
from hmhsa_insert.reports.columns import columns_of
from hmhsa_insert.reports.formats import FORMATS, Format, format_of
from hmhsa_insert.reports.frame import as_records, tidy
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.render import render, report_tables
from hmhsa_insert.reports.sources import load_records
from hmhsa_insert.reports.study_report import render_study
from hmhsa_insert.reports.study_rows import summarise
from hmhsa_insert.reports.study_tables import study_tables
from hmhsa_insert.studies.outcomes import read_outcomes
from hmhsa_insert.studies.problems import StudyError


def test_the_table_is_sound():
    assert all(key == each.key for key, each in QUANTITIES.items())
    assert len(by_field()) == len(QUANTITIES)
    assert all(set(ordered(rank)) == set(QUANTITIES.values()) for rank in ("section", "columns", "data"))
    # Whatever is not a quantity cannot be the name of a score.
    frame, known = tidy(RECORDS), by_field()
    others = {name for name in frame if name not in known and not name.startswith("delta_")}
    assert others | {"size", "pixels"} <= set(RESERVED)
    assert set(COUNTERS) <= set(known)


# A new number: its row and its counter.
class Net(nn.Sequential):
    """Three modules, or four."""

    def __init__(self, more: int) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.ReLU(), *(nn.Conv2d(4, 4, 1) for _ in range(more)))


class Untrainable(nn.Conv2d):
    """Runs in eval mode only."""

    def forward(self, image: Tensor) -> Tensor:
        if self.training:
            raise RuntimeError("no")
        return super().forward(image)


@pytest.fixture
def depth(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Quantity("depth", "Depth", kind=COUNT, delta="relative", note="Depth: modules in all")
    monkeypatch.setitem(QUANTITIES, "depth", row)
    monkeypatch.setitem(COUNTERS, "depth", lambda subject: len(list(subject.model.modules())))


def test_counters_fill_what_is_counted_for_one_image():
    net, size = Net(1), (3, 16, 16)
    counts = count(net, size)
    expected = {
        name: getattr(counts, name)
        for name in ("num_params", "num_trainable", "macs", "macs_modules_only", "activations")
    }
    assert counted(net, size) == expected
    saved = training_memory(net, size).saved_bytes_per_image
    assert counted(net, size, memory=True) == expected | {"saved_bytes_per_image": saved}
    assert counted(Untrainable(3, 4, 3), size, memory=True)["saved_bytes_per_image"] is None


@pytest.mark.usefixtures("depth")
def test_a_new_number_is_in_profiles_their_json_and_reports(tmp_path: Path):
    records = [record.as_dict() for record in profile_all({"a": Net(1), "b": Net(2)}, (3, 16, 16))]
    assert [record["depth"] for record in records] == [4, 5]
    assert "others" not in records[0]
    (tmp_path / "p.json").write_text(json.dumps({"records": records}))
    (counts,) = report_tables(records, sections=True)
    head, first, second = texts(counts)
    assert head[-4:] == ["Depth", "Δ #Params", "Δ #MACs", "Δ Depth"]
    assert (first[-4], first[-1], second[-4], second[-1]) == ("4", "", "5", "+25.0%")
    assert "Depth: modules in all" in counts.shown().notes
    loaded = load_records([tmp_path / "p.json"])
    assert [row["depth"] for row in as_records(tidy(loaded))] == [4, 5]
    assert as_records(tidy(loaded))[1]["delta_depth"] == 0.25
    text = render(loaded, "md", columns=["method", "depth", "delta_depth"])
    assert text.splitlines()[2:4] == ["|a     |    4|       |", "|b     |    5| +25.0%|"]
    assert "depth" in columns_of(tidy(loaded))
    shown = run(f"report {tmp_path}/p.json --columns method,depth")
    assert "Depth" in shown.output
    (tmp_path / "p.json").write_text(json.dumps(records[0] | {"depth": -1}))
    with pytest.raises(ReportError, match="'depth' must be 0 or more, found -1"):
        load_records([tmp_path / "p.json"])


@pytest.mark.usefixtures("depth")
def test_a_new_number_is_a_column_of_the_command_profile(tmp_path: Path):
    assert " Depth" in run("profile resnet10t --input-size 32").output
    run(f"profile resnet10t --input-size 32 -o {tmp_path}/p.json")
    (record,) = json.loads((tmp_path / "p.json").read_text())["records"]
    assert record["depth"] > 10


def with_costs(folder: Path, **costs: Any) -> Path:
    """Write a small study whose trials carry `costs`, those of the baseline as they are, others one more."""
    small_study(folder)
    of_baseline = {
        trial["id"]: trial["baseline"] for trial in json.loads((folder / "study.json").read_text())["trials"]
    }
    for path in folder.glob("trials/*/trial.json"):
        row = json.loads(path.read_text())
        more = 0 if of_baseline[row["id"]] else 1
        row["costs"] = {name: value + more for name, value in costs.items()}
        path.write_text(json.dumps(row))
    return folder


@pytest.mark.usefixtures("depth")
def test_a_new_number_is_a_cost_of_studies(tmp_path: Path):
    study = read_outcomes(with_costs(tmp_path / "s", depth=4, macs=77, unheard_of=1))
    (cost,) = (table for table in study_tables(study) if table.title == "cost")
    head, plain, hmhsa, _ = texts(cost)
    assert head == ["Variant", "#Params", "Δ", "#MACs", "Δ", "Depth", "Δ", "Memory", "Δ"]
    assert (plain[5:7], hmhsa[5:7]) == (["4", ""], ["5", "+25.0%"])
    # What a trial's file says beside its costs stands: it is what older ones have.
    assert plain[3] == "10.0K"
    assert "Depth: modules in all" in cost.shown().notes
    rows = json.loads(render_study(study, "json"))
    assert [row["depth"] for row in rows["rows"]] == [4, 5, 5]
    assert rows["trials"][0]["depth"] == 4
    assert "unheard_of" not in rows["trials"][0]
    with pytest.raises(StudyError, match=r"'costs' has what 'depth' cannot be, 4\.5"):
        read_outcomes(with_costs(tmp_path / "t", depth=4.5))


def test_costs_that_every_trial_has_change_no_report_of_older_ones(tmp_path: Path):
    before = read_outcomes(small_study(tmp_path / "s"))
    after = read_outcomes(with_costs(tmp_path / "t", num_trainable=7, activations=9, saved_bytes_per_image=8))
    for how in FORMATS:
        assert render_study(before, how) == render_study(after, how)


def test_memory_of_a_trial_may_be_among_its_costs(tmp_path: Path):
    trials = [listed("plain", 0)]
    row = done(trials[0]["id"], 50.0, memory_bytes=None, costs={"saved_bytes_per_image": 2.0**21})
    study = read_outcomes(write_study(tmp_path / "s", trials, [row]))
    assert summarise(study)["memory_bytes"].tolist() == [2.0**21]


# A new format.
def test_a_new_format_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def write(report: Any) -> str:
        return "".join(f"<{table.title}|{len(table.rows)}>\n" for table in report.tables())

    monkeypatch.setitem(FORMATS, "tags", Format(("tag", "tags"), write))
    assert render(RECORDS, "tags", title="All") == "<All|3>\n"
    study = small_study(tmp_path / "s")
    assert render_study(read_outcomes(study), "tags").startswith("<which|1>\n<verdict|2>\n<accuracy|3>\n")
    assert format_of("x.TAG") == "tags"
    (tmp_path / "p.json").write_text(json.dumps(RECORDS))
    for source in (tmp_path / "p.json", study):
        printed = run(f"report {source} --format tags").output
        run(f"report {source} -o {tmp_path}/x.tag --overwrite")
        assert (tmp_path / "x.tag").read_text() == printed
        assert printed.startswith("<")
    assert run("profile resnet10t --input-size 32 --format tags").output == "<Counts, one image|1>\n"


def test_a_format_that_does_not_exist_is_an_error(tmp_path: Path):
    study = small_study(tmp_path / "s")
    there = "there is no format 'rst' .there are 'md', 'latex', 'csv', 'json' or 'html'"
    with pytest.raises(ReportError, match=there):
        render(RECORDS, "rst")
    with pytest.raises(ReportError, match=there):
        render_study(read_outcomes(study), "rst")
    for line in (
        "report --published --format rst",
        f"report {study} --format rst",
        "profile no --format rst",
    ):
        result = run(line)
        assert result.exit_code == 1
        assert "'table', 'md', 'latex', 'csv', 'json' or 'html'" in result.stderr


def test_a_section_may_be_new_and_ranks_are_within_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(QUANTITIES, "joules", Quantity("joules", "J", section="Energy"))
    tables = report_tables([profile("a", joules=1.234)], sections=True)
    assert [table.title for table in tables] == ["Counts, one image", "Energy"]
    assert texts(tables[1])[1] == ["a", "224", "1.23"]
    keys = [each.key for each in ordered("columns") if each.header]
    assert keys.index("throughput") < keys.index("latency")
    assert next(each.key for each in ordered("section") if each.section == MEMORY) == "memory"
    assert next(each.key for each in ordered("section") if each.section == INFERENCE) == "latency"

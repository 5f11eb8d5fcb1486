"""What differs between two records and two files of weights: exactly that, and nothing of what is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from report_records import profile, run
from safetensors.torch import save_file

from hmhsa_insert.models.tensor_differences import tensor_differences
from hmhsa_insert.reports.differences import Differences, subject_of
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.report import compared

RUNS = Path(__file__).parents[1] / "fixtures" / "version_one" / "runs"


def test_two_runs_differ_in_what_was_changed():
    found = compared([RUNS / "plain", RUNS / "attention"]).data()
    assert found["same"] == ["network", "data", "software and machine"]
    assert found["differ"]["settings"] == {"ema.decay": [None, 0.7], "ema.warmup": [None, False]}
    assert found["differ"]["costs"]["macs"] == [40384.0, 41664.0]
    assert "+  block: {type: hmhsa, head_dim: 4, grids: auto}" in found["recipe"]


def test_a_run_is_the_same_as_itself():
    found = compared([RUNS / "plain", RUNS / "plain"])
    assert found.data()["differ"] == {}
    assert found.recipe() == ""
    (said,) = found.tables()
    same = "network, data, settings, software and machine, scores, costs, recipe"
    assert [cell.text for cell in said.rows[0].cells] == [same, "nothing"]


def test_one_changed_value_is_the_only_difference():
    one, other = profile("a"), profile("a", macs=2 * 1_814_073_344)
    found = Differences(subject_of(one), subject_of(other))
    assert found.data()["differ"] == {"costs": {"macs": [1_814_073_344.0, 3_628_146_688.0]}}
    _, costs = found.tables()
    assert [cell.text for cell in costs.rows[0].cells] == ["#MACs", "1.81G", "3.63G", "+100.0%"]


def test_three_records_are_refused():
    with pytest.raises(ReportError, match="compares two records, and 3 were given"):
        compared([profile("a"), profile("b"), profile("c")])


def test_the_command_says_it_in_every_format():
    line = f"report {RUNS / 'plain'} {RUNS / 'attention'} --diff"
    told = run(line)
    assert told.exit_code == 0, told.output
    assert "The same in" in told.stdout
    assert "+- op: insert" in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 100
    assert json.loads(run(f"{line} --json").stdout)["kind"] == "differences"
    assert "<summary>recipe</summary>" in run(f"{line} --format html").stdout


def test_tensors_are_compared_bit_by_bit(tmp_path):
    one = {
        "same": torch.ones(3),
        "other": torch.tensor([1.0, 2.0]),
        "nan": torch.tensor([float("nan")]),
        "shape": torch.ones(2, 3),
        "zero": torch.tensor([0.0]),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "empty": torch.ones(0),
        "turned": torch.tensor([1 + 0j]),
        "first": torch.ones(1),
    }
    other = dict(one) | {
        "other": torch.tensor([1.0, 2.25]),
        "shape": torch.ones(3, 2),
        "zero": torch.tensor([-0.0]),
        "half": torch.ones(2),
        "empty": torch.ones(0, dtype=torch.float16),
        "turned": torch.tensor([0 + 1j]),
        "second": torch.ones(1),
    }
    del other["first"]
    for name, tensors in (("a", one), ("b", other)):
        save_file(tensors, tmp_path / name)
    found = tensor_differences(tmp_path / "a", tmp_path / "b")
    assert (found.only_one, found.only_other) == (("first",), ("second",))
    assert found.shapes == {"shape": ((2, 3), (3, 2))}
    assert found.equal == 2  # "nan" has the same bits
    turned = pytest.approx(2**0.5)
    assert found.changed == {"other": 0.25, "zero": 0.0, "half": None, "empty": None, "turned": turned}


def test_what_counts_something_comes_after_the_weights(tmp_path):
    def counted(**more):
        return {f"{name}.{key}": t.clone() for name in "ab" for key, t in more.items()}

    one = counted(num_batches_tracked=torch.tensor(0), weight=torch.zeros(2))
    other = counted(num_batches_tracked=torch.tensor(500), weight=torch.tensor([0.0, 0.25]))
    new = {"c.num_batches_tracked": torch.tensor(3), "c.weight": torch.ones(2)}
    save_file(one, tmp_path / "a")
    save_file(other | new, tmp_path / "b")
    found = tensor_differences(tmp_path / "a", tmp_path / "b")
    assert list(found.changed.items()) == [
        *(("a.weight", 0.25), ("b.weight", 0.25)),
        *(("a.num_batches_tracked", 500.0), ("b.num_batches_tracked", 500.0)),
    ]
    assert found.only_other == ("c.weight", "c.num_batches_tracked")
    assert [row.cells[0].text for row in found.tables()[-1].rows] == list(found.changed)


def test_diff_of_artifacts_and_networks(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    made = run("apply test_resnet --recipe se.yaml --input-size 64 -o edited")
    assert made.exit_code == 0, made.output
    found = json.loads(run("diff test_resnet edited --json").stdout)
    assert found["weights"]["only_one"] == []
    assert len(found["weights"]["only_other"]) > 0
    assert found["weights"]["equal"] is None
    assert found["differ"]["costs"]["num_params"][0] < found["differ"]["costs"]["num_params"][1]
    alike = json.loads(run("diff edited edited --json").stdout)
    assert alike["differ"] == {}
    assert alike["weights"]["changed"] == {}
    assert alike["weights"]["equal"] > 10
    assert run("diff edited nothing-there").exit_code == 1

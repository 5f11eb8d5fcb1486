"""``profile`` as a user meets it: tables that fit, formats that read back, refusals before any work."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from command_line import error_of, output, recipe, run

from hmhsa_insert.costs.candidates import candidates
from hmhsa_insert.recipe import load_recipe
from hmhsa_insert.surgery.artifact.artifact import open_model


def records(file: str) -> list[dict]:
    return json.loads(Path(file).read_text())["records"]


def test_plain_and_with_a_recipe_side_by_side(here):
    text = output("profile usernet:small -r good.yaml --input-size 64 --memory --per stage")
    counts, *_ = text.split("Memory of a training step")
    assert [line.split()[0] for line in counts.splitlines() if " 64 " in line] == ["small", "small"]
    assert "small +" in counts
    assert "Δ #MACs" in counts
    for part in ("stage 1", "stage 3", "6.attn", "elsewhere", "total", "100.0%"):
        assert part in text
    assert "fits into 16 GiB" in text


def test_json_holds_the_records_and_csv_the_frame(here):
    output("profile usernet:small -r good.yaml --input-size 64 -o p.json")
    plain, edited = records("p.json")
    assert (plain["kind"], plain["name"], edited["name"]) == ("profile", "small", "small + mine")
    assert {plain["group"], edited["group"]} == {"small"}
    assert edited["parts"]["6.attn"] == ["6.attn"]
    output("profile usernet:small -r good.yaml --input-size 64 --memory -o p.csv")
    rows = list(csv.DictReader(Path("p.csv").read_text().splitlines()))
    assert [int(row["macs"]) for row in rows] == [plain["macs"], edited["macs"]]
    assert float(rows[1]["saved_bytes_per_image"]) > float(rows[0]["saved_bytes_per_image"]) > 0


def test_several_sizes_give_growth_and_a_plot(here):
    text = output("profile usernet:small -r good.yaml --input-size 64 --input-size 128")
    assert "Growth with the image" in text
    assert "64 → 128" in text
    output("profile usernet:small -r good.yaml --input-size 64 --input-size 128 -o p.html")
    page = Path("p.html").read_text()
    assert page.count("<figure>") == 2  # MACs against the image, and by stage
    assert "Where it is spent" in page


def test_latency_is_taken_of_all(here):
    text = output("profile usernet:small -r good.yaml --input-size 32 --latency --rounds 2 --batch 2")
    assert "Inference" in text
    assert "Training step" in text
    assert "p90 ms" in text
    assert "batch 2" in text
    output(
        "profile usernet:small --input-size 32 --latency --rounds 2 --channels-last --dtype bfloat16 -o p.json"
    )
    (record,) = records("p.json")
    assert record["inference"]["rounds"] == record["training"]["rounds"] == 2
    assert (record["environment"]["dtype"], record["environment"]["channels_last"]) == ("bfloat16", True)


def test_artifacts_and_markdown_to_a_pipe(artifacts):
    text = output("profile library mine --base usernet:small --input-size 64 --format md")
    assert text.startswith("## Counts, one image\n\n|Method")
    assert "|library" in text
    assert text.endswith("\n")


UNSEEN = """
import torch
from torch import nn


@torch.library.custom_op("unseen::triple", mutates_args=())
def triple(x: torch.Tensor) -> torch.Tensor:
    return 3 * x


triple.register_fake(torch.empty_like)


class Net(nn.Module):
    def forward(self, x):
        return triple(x)
"""


def test_what_needs_attention_is_printed_whatever_the_format(here):
    Path("triplenet.py").write_text(UNSEEN)
    text = output("profile triplenet:Net --input-size 8 --per module")
    assert "unseen.triple" in text
    result = run("profile triplenet:Net --input-size 8 --format csv")
    assert "unseen.triple" in result.stderr
    assert "unseen.triple" not in result.stdout


def test_every_bad_network_is_reported_before_any_is_measured(here):
    text = error_of("profile usernet:smal resnet19 --input-size 64")
    assert "'usernet' has no 'smal'" in text
    assert "did you mean 'resnet18'" in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--input-size 12q", "--input-size: '12q' is not a size"),
        ("--device tpu9", "--device: 'tpu9' cannot be used"),
        ("-o nowhere/p.md", "there is no folder 'nowhere'"),
        ("-o p.doc", "its ending names no format"),
        ("-r missing.yaml", "no such file, and no shipped recipe"),
        ("--input-size 2", "cannot run on an input of 3×2×2"),
    ],
)
def test_refusals(here, line, message):
    assert message in error_of(f"profile usernet:small {line}")


def test_names_stay_apart(here):
    Path("again.yaml").write_text(recipe(id="other"))
    recipes = [load_recipe("good.yaml"), load_recipe("again.yaml")]
    twins = [open_model("timm/resnet18", meta=True), open_model("torchvision/resnet18", meta=True)]
    assert list(candidates(twins, [], (3, 64, 64))) == ["timm/resnet18", "torchvision/resnet18"]
    small = open_model("usernet:small", meta=True)
    found = candidates([small], recipes, (3, 64, 64))
    assert list(found) == ["small", "small + mine", "small + mine (2)"]

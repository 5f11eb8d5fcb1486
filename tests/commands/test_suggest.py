"""``suggest`` as a user meets it: a table, and recipes that apply."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import error_of, output


def test_the_set_is_printed_and_one_recipe_with_it(here):
    text = output("suggest usernet:small --max-macs +300% --input-size 64")
    assert re.search(r"usernet:small at 3×64×64: \d+ of \d+ recipes", text)
    name = re.search(r"^name: (\S+)$", text, re.MULTILINE)[1]
    assert text.count(name) == 2
    assert text.index("# Suggested for small") < text.index("version: 1")


def test_written_recipes_apply_at_the_predicted_cost(here):
    output(
        "suggest usernet:small --max-macs +300% --max-params +900% --max-memory +900% --input-size 64 -o found"
    )
    files = sorted(Path("found").iterdir())
    assert len(files) >= 2
    for file in files:
        macs = re.search(r"parameters \(\S+\), ([\d.]+ \S) MACs", file.read_text())[1]
        after = output(f"apply usernet:small -r {file} --input-size 64")
        assert re.search(rf"MACs +[\d.]+ \S +{macs} ", after)
    assert "it exists already" in error_of(
        "suggest usernet:small --max-macs +300% --max-params +900% --max-memory +900% --input-size 64 -o found"
    )


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("--max-macs 5%", ["--max-macs: '5%' is not a limit", "write +5%"]),
        ("--max-params +5M", ["--max-params: '+5M' is not a limit"]),
        ("--max-latency 25M", ["--max-latency: '25M' is not a share of the network's time", "write +0%"]),
        ("--max-macs 1K", ["recipes is within the limits", "the one of the fewest MACs is hmhsa-"]),
        ("--block tdb", ["'tdb' does not keep the shape"]),
        ("--block hmsa", ["did you mean 'hmhsa'"]),
    ],
)
def test_refusals(here, line, messages):
    text = error_of(f"suggest usernet:small --input-size 64 {line}")
    for message in messages:
        assert message in text

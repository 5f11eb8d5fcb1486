"""Tables and plots in each format; the page is in `test_reports_page.py`."""

from __future__ import annotations

import math
import re
import shutil
import subprocess

import pytest
from report_records import ALL, RECORDS, SIZES, memory, profile

from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.quantity import counted, significant
from hmhsa_insert.reports.columns import columns_of
from hmhsa_insert.reports.formats import FORMATS, format_of
from hmhsa_insert.reports.frame import tidy
from hmhsa_insert.reports.latex import to_latex
from hmhsa_insert.reports.markdown import to_markdown
from hmhsa_insert.reports.parts import parts_frame
from hmhsa_insert.reports.plots import COLORS, MARKERS, against_macs, against_size, part_bars
from hmhsa_insert.reports.problems import ReportError
from hmhsa_insert.reports.published import published_records
from hmhsa_insert.reports.render import render
from hmhsa_insert.reports.table import make_table

MARKDOWN = """\
## ImageNet

|Method             |Size|#Params|Layer MACs|  Memory|Img/s|Top-1|Δ Top-1|
|-------------------|---:|------:|---------:|-------:|----:|----:|------:|
|resnet18           | 224|  11.7M|     1.81G|20.0 MiB|  100| 70.0|       |
|resnet18 + stage3  | 224|  11.7M|     1.81G|22.0 MiB| 83.3| 71.2|   +1.2|
|lonely             | 224|   1.0M|     30.0M|        |     |     |       |
|TransCNN-Tiny [1]  | 256|  13.3M|          |        |     | 80.4|       |
|TransCNN-Small [1] | 256|  26.5M|          |        |     | 83.1|       |
|TransCNN-Medium [1]| 256|  48.3M|          |        |     | 83.8|       |
|TransCNN-Large [1] | 256|  80.0M|          |        |     | 84.2|       |
|HAT-Net-Tiny [2]   | 224|  12.7M|      2.0G|        |     | 79.8|       |
|HAT-Net-Small [2]  | 224|  25.7M|      4.3G|        |     | 82.6|       |
|HAT-Net-Medium [2] | 224|  42.9M|      8.3G|        |     | 84.0|       |
|HAT-Net-Large [2]  | 224|  63.1M|     11.5G|        |     | 84.2|       |

- Layer MACs: multiply–accumulates of convolution and linear layers with bias,
  one image; papers print this number under FLOPs
- Memory: saved for the backward pass of training, per image
- Img/s: images per second in inference
- Times measured on Some CPU, 2 threads, torch 2.15.0, float32, channels-last,
  batch 1, wall time
- Top-1: accuracy in percent
- Δ: against the base, the first row of its group, at the same size, in
  percentage points
- [1] published: authors' repository (v1.0 release)
- [2] published: authors' repository (v2.0 release)
"""


def test_markdown_is_the_papers_table_and_fits_80_columns():
    text = render(ALL, "md", title="ImageNet")
    assert text.startswith(MARKDOWN)
    assert max(map(len, text.splitlines())) <= 80


def test_without_accuracies_the_difference_is_in_macs():
    costs = [record for record in RECORDS if record["kind"] == "profile"]
    lines = render(costs, "md").splitlines()
    assert lines[0].endswith("|Δ #MACs|")
    assert lines[3].endswith("| +10.0%|")
    assert lines[2].endswith("|       |")


def test_columns_are_chosen_and_wrong_ones_all_reported():
    line = render(RECORDS, "md", columns=["method", "macs", "delta_macs", "latency", "params"]).splitlines()[
        3
    ]
    assert line == "|resnet18 + stage3|2.00G| +10.0%|12.0|  11.7M|"
    with pytest.raises(ReportError) as caught:
        render(RECORDS, "md", columns=["methd", "method", "zzz"])
    problems = caught.value.problems
    assert [problem.message for problem in problems] == [
        "there is no column 'methd'",
        "there is no column 'zzz'",
    ]
    assert problems[0].tip == "did you mean 'method'?"
    assert "delta_top1" in problems[1].tip


def test_every_column_can_be_shown():
    table = make_table(tidy(ALL), ["all"])
    known = columns_of(tidy(ALL))
    assert [header.text for header in table.headers] == [column.header for column in known.values()]
    assert len({header.text for header in table.headers}) == len(known)
    assert all(len(row.cells) == len(known) for row in table.rows)
    assert not [cell for row in table.rows for cell in row.cells if cell.value is None and cell.text]


def test_hostile_names_stay_text_in_markdown():
    table = make_table(tidy([profile("a|b`*<i>\nc\\d", group=None)]), ["method", "params"])
    line = to_markdown(table).splitlines()[2]
    assert line == r"|a\|b\`\*\<i> c\\d|  11.7M|"


LATEX = r"""% needs \usepackage{booktabs}
\begin{table}
\centering
\caption{Costs \& more}
\begin{tabular}{lrrr}
\toprule
Method & \#Params & Memory & $\Delta$ \#MACs \\
\midrule
resnet18 & 11.7M & 20.0 MiB &  \\
a\_b\% & 11.7M &  & $-$50.0\% \\
\addlinespace
HAT-Net-Large\textsuperscript{1} & 63.1M &  &  \\
\bottomrule
\end{tabular}
\par\smallskip{\footnotesize Memory: saved for the backward pass of training, per image}
\par\smallskip{\footnotesize $\Delta$: against the base, the first row of its group, at the same size}
\par\smallskip{\footnotesize [1] published: authors' repository (v2.0 release)}
\end{table}
"""


def test_latex_is_booktabs():
    records = [RECORDS[1], profile("a_b%", macs=907_036_672), published_records()[-1]]
    table = make_table(tidy(records), ["method", "params", "memory", "delta_macs"], "Costs & more")
    assert to_latex(table) == LATEX


def test_hostile_names_stay_text_in_latex():
    table = make_table(tidy([profile(r"\input{x}$^~#&", group=None)]), ["method"])
    assert r"\textbackslash{}input\{x\}\$\textasciicircum{}\textasciitilde{}\#\& \\" in to_latex(table)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs pdflatex with booktabs")
def test_latex_compiles(tmp_path):
    body = render(ALL, "latex", title="ImageNet")
    (tmp_path / "t.tex").write_text(
        rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{body}\end{{document}}"
    )
    subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_formats_and_their_endings():
    assert [format_of(f"x.{end}") for end in ("md", "tex", "csv", "json", "html", "HTML")] == [
        *FORMATS,
        "html",
    ]
    with pytest.raises(ReportError, match="its ending names no format"):
        format_of("report.doc")


@pytest.mark.parametrize(
    ("value", "text"),
    [(4_089_184_256, "4.09G"), (300_774_272, "0.30G"), (147_968, "148.0K"), (128, "128"), (0, "0")],
)
def test_counts_are_written_with_a_fitting_unit(value, text):
    assert counted(value) == text


def test_three_significant_digits():
    assert [significant(v) for v in (1234.5, 99.96, 12.34, 1.234)] == ["1234", "100", "12.3", "1.23"]


@pytest.mark.parametrize("value", [-0.0004, 0.0004, -0.0])
def test_a_difference_that_rounds_to_nothing_has_no_minus(value):
    assert QUANTITIES["macs"].delta_text(value) == "+0.0%"
    assert QUANTITIES["top1"].delta_text(100 * value) == "+0.0"
    assert QUANTITIES["top1"].mean_delta_text(10 * value) == "+0.00"


def test_plots_are_drawn_only_from_what_is_known():
    frame = tidy([profile("a", macs_modules_only=None)])
    assert against_macs(frame, QUANTITIES["top1"]) is None
    assert against_size(frame, QUANTITIES["macs"]) is None
    assert part_bars(parts_frame([])) is None


def test_many_methods_have_a_legend_of_groups_and_no_marker_means_two():
    groups = [f"net{number}" for number in range(12)]
    rows = [
        profile(f"{group} {more}", macs_modules_only=10**9, group=group, memory=memory(5.0))
        for group in groups
        for more in ("a", "b", "c")
    ]
    svg = against_macs(tidy(rows), QUANTITIES["memory"]).svg
    labels = re.findall(r"<!-- (net\d+.*?) -->", svg)
    assert labels == groups
    assert len(COLORS) * len(MARKERS) == math.lcm(len(COLORS), len(MARKERS))


def test_plots_are_the_same_each_time():
    frame = tidy([*ALL, *SIZES, profile("costs $x$ < y")])
    first, second = (against_macs(frame, QUANTITIES["top1"]) for _ in range(2))
    assert first == second
    assert "hollow: published" in first.caption
    macs = QUANTITIES["macs"]
    assert against_size(frame, macs).svg == against_size(frame, macs).svg

"""No two texts of a plot overlap, whatever is drawn: measured by their boxes, where matplotlib puts them."""

from __future__ import annotations

from itertools import combinations

import matplotlib.text
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_records import memory, profile, training
from study_folders import done, listed, write_study

from hmhsa_insert.quantities import QUANTITIES
from hmhsa_insert.reports import plots
from hmhsa_insert.reports.frame import tidy
from hmhsa_insert.reports.labels import Label
from hmhsa_insert.reports.parts import parts_frame
from hmhsa_insert.reports.study_comparisons import comparisons
from hmhsa_insert.reports.study_plots import forest, score_against_macs
from hmhsa_insert.reports.study_rows import summarise
from hmhsa_insert.studies.outcomes import read_outcomes

NAMES = st.text("abcW -+·", min_size=1, max_size=70)
COUNTS = st.integers(1, 10**12)


def boxes(figure):
    """Return the texts that a figure shows, and their boxes."""
    figure.draw_without_rendering()
    texts = [
        each
        for each in figure.findobj(matplotlib.text.Text)
        if each.get_visible() and each.get_text().strip()
    ]
    # A tick outside of the axes has a text that is not drawn.
    ticks = {
        id(text): axis
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for text in axis.get_ticklabels()
    }
    found = []
    for text in texts:
        if id(text) in ticks:
            least, most = sorted(ticks[id(text)].get_view_interval())
            x, y = text.get_position()
            place = x if ticks[id(text)].axis_name == "x" else y
            if not least <= place <= most:
                continue
        found.append((text.get_text(), text.get_window_extent()))
    return found


def overlapping(figure):
    return [(a, b) for (a, one), (b, other) in combinations(boxes(figure), 2) if one.overlaps(other)]


@pytest.fixture
def drawn(monkeypatch):
    """Return the figures that are drawn, none of them written."""
    found = []
    monkeypatch.setattr(plots, "_as_svg", lambda figure: found.append(figure) or "<svg/>")
    return found


def check(drawn) -> None:
    assert drawn
    for figure in drawn:
        assert overlapping(figure) == []
        bounds = figure.bbox.padded(1)
        for text, box in boxes(figure):
            assert box.width < 1 or (bounds.x0 <= box.x0 and box.x1 <= bounds.x1), text
            assert bounds.y0 <= box.y0 < box.y1 <= bounds.y1, text
    drawn.clear()


METHODS = st.lists(
    st.tuples(NAMES, st.sampled_from([32, 64, 224, 230, 512]), COUNTS, COUNTS), min_size=1, max_size=12
)


@pytest.mark.filterwarnings("error")
@settings(max_examples=8, deadline=None)
@given(methods=METHODS)
def test_no_plot_of_records_has_texts_that_overlap(methods):
    records = [
        profile(name, side, macs=macs, macs_modules_only=macs, memory=memory(float(kept)))
        for name, side, macs, kept in methods
    ]
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_as_svg", lambda figure: found.append(figure) or "<svg/>")
        frame = tidy(records)
        for made in (plots.against_macs, plots.against_size):
            made(frame, QUANTITIES["memory"])
    check(found)


def test_points_at_one_place_have_one_name(drawn):
    names = ["resnet18 + a long name", "resnet18 + another", "resnet18"]
    rows = [training(name, 70.0 + place / 1e9, macs_modules_only=10**9) for place, name in enumerate(names)]
    plots.against_macs(tidy(rows), QUANTITIES["top1"])
    shown = [text for text, _ in boxes(drawn[0]) if text in names]
    assert shown
    assert shown[0] == names[0]
    check(drawn)


@pytest.mark.parametrize("count", [2, 30])
def test_names_are_written_where_there_is_room(drawn, count):
    rows = [training(f"n{i}", 3.0 * i, macs_modules_only=(i * 7 % count + 1) * 10**8) for i in range(count)]
    plots.against_macs(tidy(rows), QUANTITIES["top1"])
    assert {f"n{i}" for i in range(count)} <= {text for text, _ in boxes(drawn[0])}
    check(drawn)


def test_parts_with_long_names(drawn):
    modules = [
        {
            "name": f"{'stage' * 9}{i}",
            "num_params": 1,
            "macs": 10**9,
            "macs_modules_only": 1,
            "activations": 1,
        }
        for i in range(12)
    ]
    plots.part_bars(parts_frame([profile("net" * 30, side, by_module=modules) for side in (224, 448)]))
    check(drawn)


def test_the_plots_of_a_study(drawn, tmp_path):
    trials = [listed(f"variant {i}", seed, baseline=i == 0) for i in range(14) for seed in range(3)]
    rows = [
        done(trial["id"], 50.0 + place % 5, macs=10**6 + place // 3) for place, trial in enumerate(trials)
    ]
    study = read_outcomes(write_study(tmp_path / "s", trials, rows))
    frame = summarise(study)
    assert forest(comparisons(study), study.quantity, "Difference")
    assert score_against_macs(frame, study.quantity)
    check(drawn)


@pytest.mark.parametrize(
    ("macs", "label"),
    [(40_000, "KMACs"), (4 * 10**6, "MMACs"), (5 * 10**9, "GMACs"), (999, "MACs")],
)
def test_an_axis_has_the_unit_that_fits(drawn, macs, label):
    rows = [training("a", 70.0, macs_modules_only=macs // 2), training("b", 71.0, macs_modules_only=macs)]
    plots.against_macs(tidy(rows), QUANTITIES["top1"])
    axes = drawn[0].axes[0]
    assert axes.get_xlabel() == f"{label} of convolution and linear layers"
    assert 1 <= max(each.get_offsets()[:, 0].max() for each in axes.collections) < 1000


def test_overlaps_are_found():
    """What the tests above measure with notices names that cover each other."""
    with pytest.MonkeyPatch.context() as patch:
        found = []
        patch.setattr(plots, "_as_svg", lambda figure: found.append(figure) or "")
        plots.draw_svg(lambda axes: [axes.text(0.5, 0.5, name) for name in ("one", "two")] and None)
        assert ("one", "two") in overlapping(found[0])
        plots.draw_svg(lambda axes: [Label("one", 0.5, 0.5), Label("two", 0.5, 0.5)])
        assert overlapping(found[1]) == []

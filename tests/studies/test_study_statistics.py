"""The statistics against worked examples, enumeration by hand, and simulation."""

import csv
import math
from importlib import resources
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hmhsa_insert.studies.power import least_difference, power, sd_bounds, seeds_to_resolve
from hmhsa_insert.studies.statistics import coverage, holm, mcnemar, paired

# Darwin's cross- and self-fertilised maize (The Effects of Cross and Self Fertilisation, 1876; Fisher, The Design of
# Experiments, 1935, §17-21): differences of 15 pairs in eighths of an inch.
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def test_fishers_own_example():
    (found,) = paired([DARWIN])
    # The sum is 314; of the 32,768 sign patterns 835 exceed it and 28 equal it: 2.634 % in one direction.
    assert sum(DARWIN) == 314
    assert found.p == pytest.approx(2 * 863 / 2**15, abs=1e-12)
    assert found.least_p == 2 / 2**15
    assert found.mean == pytest.approx(20.9333, abs=1e-4)
    assert found.sd == pytest.approx(37.744, abs=1e-3)
    # Student's interval: 20.933 ± 2.1448 · 37.744 / √15.
    half = 2.1447867 * found.sd / math.sqrt(15)
    assert found.t == pytest.approx((found.mean - half, found.mean + half), abs=1e-4)


def signs(differences):
    """Enumerate the test as its definition has it, in integers."""
    observed = abs(sum(differences))
    flips = [
        abs(sum(s * d for s, d in zip(pattern, differences, strict=True)))
        for pattern in product((1, -1), repeat=len(differences))
    ]
    return sum(flip >= observed for flip in flips) / len(flips)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9))
def test_sign_flips_are_all_enumerated_and_ties_count(differences):
    # In hundredths of a point, as accuracies come: not whole in binary, so ties depend on rounding.
    (found,) = paired([[d / 297 * 100 for d in differences]])
    assert found.p == pytest.approx(signs(differences), abs=1e-12)
    assert found.least_p == 2.0 ** (1 - len(differences))
    assert found.p >= found.least_p


@pytest.mark.parametrize(("seeds", "least"), [(1, 1.0), (2, 0.5), (3, 0.25), (6, 0.03125), (10, 2 / 1024)])
def test_the_smallest_p_is_that_of_differences_of_one_sign(seeds, least):
    (found,) = paired([[0.5 + 0.1 * seed for seed in range(seeds)]])
    assert found.p == found.least_p == least


def test_more_seeds_than_can_be_enumerated():
    rng = np.random.default_rng(0)
    (found,) = paired([rng.normal(size=20).tolist()])
    assert found.least_p == 2 / (2**16 + 1)
    assert found.p == paired([np.random.default_rng(0).normal(size=20).tolist()])[0].p
    exact = stats.ttest_1samp(rng.normal(size=20), 0)
    assert 0 < exact.pvalue <= 1


def test_students_interval_by_hand():
    # 1, 2, 3: mean 2, sd 1, t with 2 degrees of freedom 4.302653: 2 ± 4.302653/√3.
    (found,) = paired([[1.0, 2.0, 3.0]])
    assert found.t == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-6)
    assert (found.n, found.mean, found.sd) == (3, 2.0, 1.0)


def bca_of_all(differences):
    """BCa as Efron and Tibshirani define it (An Introduction to the Bootstrap, 14.3), over all nⁿ resamples."""
    d = np.array(differences)
    n = len(d)
    means = np.sort([np.mean(sample) for sample in product(d, repeat=n)])
    below = (np.mean(means < d.mean() - 1e-12) + np.mean(means <= d.mean() + 1e-12)) / 2
    z0 = stats.norm.ppf(below)
    jack = np.array([np.delete(d, i).mean() for i in range(n)])
    jack = jack.mean() - jack
    a = (jack**3).sum() / (6 * (jack**2).sum() ** 1.5)
    z = stats.norm.ppf([0.025, 0.975])
    levels = stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z)))
    return np.quantile(means, levels)


@pytest.mark.parametrize("differences", [[0.3, 1.1, 0.4, 0.9, 2.5, 0.7], [-1.0, 0.2, 0.5, 0.8, 1.4, 0.1]])
def test_the_bootstrap_is_near_the_one_of_all_resamples(differences):
    (found,) = paired([differences])
    low, high = bca_of_all(differences)
    spread = high - low
    assert found.bca == pytest.approx((low, high), abs=0.06 * spread)
    # Skewed to the right: the interval reaches further where the long tail is, as Student's does not.
    assert found.t[0] < found.bca[0]


def test_what_cannot_be_said_is_not_said():
    one, two, equal, zero, three = paired([[1.0], [1.0, 2.0], [0.5, 0.5, 0.5], [0.0] * 6, [1.0, 1.0, 2.0]])
    assert (one.sd, one.t, one.bca, one.p) == (None, None, None, 1.0)
    assert two.t is not None
    assert two.bca is None
    assert (equal.t, equal.bca, equal.sd, equal.p) == (None, None, 0.0, 0.25)
    assert (zero.t, zero.bca, zero.p) == (None, None, 1.0)
    assert all(map(math.isfinite, (*three.t, *three.bca)))
    # Equal but for the last bits of a difference of accuracies is equal.
    (bits,) = paired([[93.3 - 92.6, 91.3 - 90.6, 90.9 - 90.2]])
    assert bits.t is None


def test_a_sample_says_the_same_in_any_company_and_every_time():
    rng = np.random.default_rng(1)
    samples = [rng.normal(size=n).tolist() for n in (3, 6, 6, 4, 3)] + [[0.0, 0.0, 0.0]]
    together = paired(samples)
    assert together == [paired([sample])[0] for sample in samples]
    assert together == paired(samples[::-1])[::-1]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=6), st.floats(0.5, 4))
def test_units_and_signs_carry_through(differences, scale):
    spread = max(differences) - min(differences)
    if 0 < spread < 1e-3:
        return
    one, more, minus = paired([differences, [scale * d for d in differences], [-d for d in differences]])
    if one.t is not None:
        assert more.t == pytest.approx([scale * bound for bound in one.t], abs=1e-9)
        assert minus.t == pytest.approx([-one.t[1], -one.t[0]], abs=1e-9)
        assert one.t[0] <= one.mean <= one.t[1]
    if one.bca is not None:
        assert min(differences) - 1e-9 <= one.bca[0] <= one.bca[1] <= max(differences) + 1e-9


def test_mcnemar_by_hand():
    # Only the baseline right: 2 images; only the variant: 8. Two-sided binomial: 2·(1 + 10 + 45)/1024 = 0.109375.
    base = np.array([1] * 2 + [0] * 8 + [1] * 30 + [0] * 5, dtype=bool)
    variant = np.array([0] * 2 + [1] * 8 + [1] * 30 + [0] * 5, dtype=bool)
    found = mcnemar(base, variant)
    assert (found.lost, found.won) == (2, 8)
    assert found.p == pytest.approx(0.109375, abs=1e-12)
    back = mcnemar(variant, base)
    assert (back.lost, back.won, back.p) == (8, 2, found.p)
    assert mcnemar(base, base).p == 1.0


def covered(samples):
    found = paired(samples)
    return [
        np.mean([interval[0] <= 0 <= interval[1] for interval in kind])
        for kind in ([f.t for f in found], [f.bca for f in found])
    ]


def test_intervals_cover_what_the_report_says_at_six_seeds():
    """Simulate 1,000 studies without effect, as a user would see them: seed noise of a variant and its baseline."""
    rng = np.random.default_rng(7)
    accuracy = 92 + rng.normal(scale=0.6, size=(2, 1000, 6))
    t, bca = covered((accuracy[0] - accuracy[1]).tolist())
    said = coverage(6)
    assert 0.92 <= t <= 0.98
    # Four standard errors of the two simulations.
    assert abs(t - said.t) < 4 * math.sqrt(0.05 * 0.95 * (1 / 1000 + 1 / 4000))
    assert abs(bca - said.bca) < 4 * math.sqrt(0.14 * 0.86 * (1 / 1000 + 1 / 4000))
    assert said.bca < 0.92  # which is why both are shown


def test_p_is_no_more_often_small_than_it_says():
    rng = np.random.default_rng(8)
    p = np.array([found.p for found in paired(rng.normal(size=(2000, 6)).tolist())])
    for level in (0.03125, 0.0625, 0.25, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 2000))


def test_the_coverage_table_is_whole():
    text = resources.files("hmhsa_insert.studies").joinpath("coverage.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [int(row["n"]) for row in rows] == [*range(2, 13)]
    assert {row["studies"] for row in rows} == {"4000"}
    for row in rows:
        assert float(row["t_worst"]) <= float(row["t"])
        assert (row["bca"] == "") == (row["n"] == "2")
    assert coverage(1) is None
    assert coverage(1000).n == 12


# G*Power 3.1 and Cohen (1988), paired t test, two-sided, 5 %, power 80 %: the standardized difference and the pairs.
@pytest.mark.parametrize(
    ("effect", "seeds"), [(0.1, 787), (0.2, 199), (0.3, 90), (0.5, 34), (0.8, 15), (1.0, 10)]
)
def test_the_seeds_that_resolve_a_difference_are_those_of_tables(effect, seeds):
    assert seeds_to_resolve(effect, 1.0) == seeds
    assert seeds_to_resolve(-3 * effect, 3.0) == seeds
    assert power(seeds - 1, effect, 1.0) < 0.8 <= power(seeds, effect, 1.0)


@pytest.mark.parametrize(("n", "effect"), [(2, 3.0), (3, 1.5), (5, 1.0), (10, 0.2), (12, 1.0), (40, 0.0)])
def test_power_is_the_share_of_simulated_studies_that_find_the_difference(n, effect):
    draws = np.random.default_rng(n).normal(effect, 1.0, size=(40_000, n))
    found = np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue <= 0.05)
    said = power(n, effect, 1.0)
    assert found == pytest.approx(said, abs=4 * math.sqrt(said * (1 - said) / 40_000))


@pytest.mark.parametrize(("n", "shift"), [(3, 4.9), (3, 5.1), (6, 5.0), (30, 40.0), (100_000, 3.0)])
def test_power_is_smooth_and_whole_far_out(n, shift):
    effect = shift / math.sqrt(n)
    less, more = power(n, effect * 0.999, 1.0), power(n, effect * 1.001, 1.0)
    assert 0 < less <= power(n, effect, 1.0) <= more <= 1


@pytest.mark.parametrize("n", [2, 3, 6, 34, 1000])
def test_the_least_difference_is_the_one_that_so_many_seeds_find_in_four_of_five_studies(n):
    least = least_difference(n, 0.6)
    assert power(n, least, 0.6) == pytest.approx(0.8, abs=1e-9)
    assert seeds_to_resolve(least * 1.0001, 0.6) == n
    assert least_difference(n, 1.2) == pytest.approx(2 * least)


def test_what_no_number_of_seeds_resolves():
    assert seeds_to_resolve(1e-6, 1.0) is None
    assert seeds_to_resolve(1.0, 0.0) == 2


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 5), st.floats(0.1, 5))
def test_more_noise_never_needs_fewer_seeds(difference, sd):
    assert seeds_to_resolve(difference, sd) <= seeds_to_resolve(difference, 1.2 * sd)
    assert seeds_to_resolve(difference, sd) >= seeds_to_resolve(1.2 * difference, sd)


def test_holm_by_hand():
    # Ordered 0.01, 0.02, 0.03, 0.04, times 4, 3, 2, 1, and none below the one before it.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_between_each_p_and_bonferronis(ps):
    for p, adjusted in zip(ps, holm(ps), strict=True):
        assert p <= adjusted <= min(1.0, len(ps) * p) + 1e-12


def test_holm_is_wrong_in_one_study_of_twenty():
    rng = np.random.default_rng(3)
    p = stats.ttest_1samp(rng.normal(size=(4000, 5, 6)), 0, axis=2).pvalue
    wrong = np.mean([min(holm(row)) <= 0.05 for row in p.tolist()])
    assert wrong == pytest.approx(1 - 0.99**5, abs=4 * math.sqrt(0.05 * 0.95 / 4000))
    assert np.mean(p.min(axis=1) <= 0.05) > 0.2  # without it, one of five


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8))
def test_the_interval_holds_zero_where_p_is_large(differences):
    (found,) = paired([differences])
    if found.t is None:
        assert found.t_p is None
        return
    assert found.t_p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=1e-9)
    if abs(found.t_p - 0.05) > 1e-9:
        assert (found.t_p > 0.05) == (found.t[0] <= 0 <= found.t[1])


@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_true_deviation_is_within_its_bounds(n):
    low, high = sd_bounds(n)
    sd = np.random.default_rng(n).normal(size=(20_000, n)).std(axis=1, ddof=1)
    assert np.mean((low * sd <= 1) & (high * sd >= 1)) == pytest.approx(0.95, abs=0.007)
    assert low < 1 < high

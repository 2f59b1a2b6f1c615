"""The statistics of `ab` against SciPy and statsmodels, which are independent of ours."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mssbench.ab import statistics
from mssbench.ab.statistics import Evidence, usual_scatter, worth_a_look

SEEDS = range(20)


def effects(seed, count):
    """Effects of pairs, of which every second seed has ties: they are rounded to few values."""
    rng = np.random.default_rng(seed)
    found = rng.normal(rng.choice([-0.05, 0.0, 0.02, 0.3]), rng.choice([1e-6, 0.01, 1.0]), count)
    if seed % 2:
        found = np.round(found, 2)
    if len({*found}) == 1:
        found[0] += 0.01  # equal effects have tests of their own
    return [float(x) for x in found]


@pytest.mark.parametrize("count", [2, 3, 9, 200])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_p_value_is_that_of_scipy_s_one_sided_t_test(seed, count):
    given = effects(seed, count)
    expected = stats.ttest_1samp(given, 0.0, alternative="greater").pvalue
    assert statistics._one_sided(given) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("given", [[], [0.1], [-0.1], [0.0] * 9, [-0.1] * 9])
def test_what_shows_no_effect_at_all_has_the_largest_p_value(given):
    """SciPy answers NaN to most of these. 1 is the value that never rejects."""
    assert statistics._one_sided(given) == 1.0


def test_equal_positive_effects_have_the_limit_of_the_p_value_as_their_scatter_vanishes():
    assert statistics._one_sided([0.1] * 9) == 0.0
    nearly = [0.1] * 8 + [0.1 + 1e-12]
    assert stats.ttest_1samp(nearly, 0.0, alternative="greater").pvalue < 1e-60


@pytest.mark.parametrize("count", [2, 3, 9])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_interval_of_the_mean_is_scipy_s(seed, count):
    given = effects(seed, count)
    found = stats.ttest_1samp(given, 0.0).confidence_interval(0.9)
    assert Evidence(tuple(given)).interval() == pytest.approx((found.low, found.high), rel=1e-9)


def test_an_interval_of_equal_effects_is_one_point_and_of_one_effect_everything():
    assert Evidence((0.1,) * 9).interval() == pytest.approx((0.1, 0.1))
    assert Evidence((0.1,)).interval() == (-np.inf, np.inf)


@pytest.mark.parametrize("df", [1, 2, 8, 100])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.8, 0.95, 0.999])
def test_quantiles_of_student_s_t_are_scipy_s(p, df):
    assert statistics._quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-9, abs=1e-12)


def p_values(seed, count):
    """So many p-values, small and large, of which every second seed has ties, also at a limit."""
    rng = np.random.default_rng(seed)
    found = rng.uniform(size=count) ** rng.choice([1, 3, 8])
    if seed % 2:
        found = rng.choice([0.0, 0.001, 0.05 / count, 0.1 / count, 0.05, 0.1, 1.0], count)
    return [float(p) for p in found]


@pytest.mark.parametrize("count", [1, 2, 7, 40])
@pytest.mark.parametrize("seed", SEEDS)
def test_holm_s_rule_rejects_what_statsmodels_rejects(seed, count):
    given = p_values(seed, count)
    rejected = multipletests(given, alpha=0.05, method="holm")[0]
    found = statistics._holm({str(i): p for i, p in enumerate(given)})
    assert found == {str(i) for i in np.flatnonzero(rejected)}


def test_holm_s_rule_rejects_nothing_of_nothing():
    assert statistics._holm({}) == set()
    assert worth_a_look({}) == []


@pytest.mark.parametrize("count", [1, 2, 7, 40])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_worth_a_look_is_what_statsmodels_rejects_by_benjamini_and_hochberg(
    seed, count, monkeypatch
):
    given = p_values(seed, count)
    monkeypatch.setattr(statistics, "_one_sided", lambda effects: given[int(effects[0])])
    found = worth_a_look({str(i): Evidence((float(i),)) for i in range(count)})
    rejected = multipletests(given, alpha=0.1, method="fdr_bh")[0]
    assert set(found) == {str(i) for i in np.flatnonzero(rejected)}
    assert [given[int(key)] for key in found] == sorted(given[int(key)] for key in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_p_values_of_rows_and_both_rules_fit_together(seed):
    rng = np.random.default_rng(seed)
    rows = {i: tuple(map(float, rng.normal(rng.choice([0, 0.04]), 0.02, 9))) for i in range(12)}
    p = stats.ttest_1samp([*rows.values()], 0.0, axis=1, alternative="greater").pvalue
    likely = multipletests(p, alpha=0.1, method="fdr_bh")[0]
    found = worth_a_look({str(i): Evidence((0.1,), effects) for i, effects in rows.items()})
    assert set(found) == {str(i) for i in np.flatnonzero(likely)}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_scatter_of_both_stages_is_the_pooled_standard_deviation(seed):
    screen, confirm = effects(seed, 3), effects(seed + 100, 9)
    pooled = np.sqrt((2 * np.var(screen, ddof=1) + 8 * np.var(confirm, ddof=1)) / 10)
    assert Evidence(tuple(screen), tuple(confirm)).scatter == pytest.approx(pooled, abs=1e-12)


@pytest.mark.parametrize("pairs", [2, 3, 5, 9])
def test_the_usual_scatter_is_corrected_as_the_median_of_chi_squared_asks_for(pairs):
    """Wilson and Hilferty's approximation of that median errs by 3 % in the worst case."""
    rows = {"row": Evidence(tuple(map(float, np.linspace(-1, 1, pairs))))}
    variance = np.var(rows["row"].screen, ddof=1)
    free = pairs - 1
    exact = np.sqrt(variance * free / stats.chi2.ppf(0.5, free))
    assert usual_scatter(rows) == pytest.approx(exact, rel=0.03)

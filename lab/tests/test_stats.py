# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""Statistics: against scipy's, and what they say of series whose truth is known."""

import math

import numpy
import pytest
import scipy.stats

from lab import stats

TRIALS = 1000


def series(random, n, noise, effect=1.0, slow=0.1):
    """(a, b) as interleaved runs give them, in the order ABBA: log-normal noise, a share of the runs
    slow by up to a third, and the machine slower by 3 % from the first run to the last."""
    speeds = 1e8 * numpy.exp(random.normal(0, noise, 2 * n))
    speeds *= numpy.where(random.random(2 * n) < slow, random.uniform(0.67, 1, 2 * n), 1)
    speeds *= numpy.linspace(1, 0.97, 2 * n)
    first, second = speeds[0::2], speeds[1::2]
    swap = numpy.arange(n) % 2 == 1
    return numpy.where(swap, second, first) * effect, numpy.where(swap, first, second)


def shares(n, noise, change=stats.SWITCH, **more):
    """{word: share of the trials that got it}"""
    random = numpy.random.default_rng(12)
    words = [stats.verdict(*series(random, n, noise, **more), change).word for _ in range(TRIALS)]
    return {word: words.count(word) / TRIALS for word in ("GO", "NEUTRAL", "NO-GO")}


@pytest.mark.parametrize("noise", [0.003, 0.01, 0.05])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_same_against_itself_is_neutral(n, noise):
    found = shares(n, noise, stats.BUILD)  # the switch's threshold is higher still
    assert found["GO"] <= 0.05 and found["NO-GO"] <= 0.05


def test_a_real_effect_is_found():
    assert shares(10, 0.01, effect=1.03, slow=0.03)["GO"] > 0.75
    assert shares(10, 0.01, effect=1 / 1.03, slow=0.03)["NO-GO"] > 0.75
    assert shares(15, 0.003, effect=1.02, slow=0.03)["GO"] > 0.9


@pytest.mark.parametrize("n, m", [(2, 2), (4, 4), (6, 6), (10, 10), (110, 110),
                                  (7, 9), (3, 12), (60, 80), (2, 3)])
def test_interval_holds_the_truth(n, m):
    random = numpy.random.default_rng(3)
    held = 0
    for _ in range(400):
        found = stats.ratio(1.3 * numpy.exp(random.normal(0, 0.1, n)),
                            numpy.exp(random.normal(0, 0.1, m)))
        held += found.low <= 1.3 <= found.high
    assert held / 400 >= 0.925  # 95 % but for chance in 400 trials (two standard deviations)


@pytest.mark.parametrize("n", [1, 2, 6, 10, 25])
def test_signed_ranks_are_those_of_scipy(n):
    chance = stats._signed_rank(n)
    for at in range(len(chance)):
        # a sample without ties whose sum of positive ranks is `at`
        signs, left = numpy.full(n, -1.0), at
        for rank in range(n, 0, -1):
            if rank <= left:
                signs[rank - 1], left = 1.0, left - rank
        wanted = scipy.stats.wilcoxon(signs * numpy.arange(1, n + 1), alternative="less",
                                      mode="exact").pvalue
        assert chance[:at + 1].sum() == pytest.approx(wanted)


@pytest.mark.parametrize("n, m", [(2, 2), (3, 5), (7, 7), (10, 4)])
def test_rank_sums_are_those_of_scipy(n, m):
    chance = stats._rank_sum(n, m)
    random = numpy.random.default_rng(1)
    for _ in range(20):
        a, b = random.random(n), random.random(m)
        done = scipy.stats.mannwhitneyu(a, b, alternative="less", method="exact")
        assert chance[:int(done.statistic) + 1].sum() == pytest.approx(done.pvalue)


@pytest.mark.parametrize("n, m", [(10, 10), (120, 120), (9, 12), (70, 90)])
def test_limits_are_where_the_test_of_scipy_turns(n, m):
    """Just outside of the interval the test refuses at 5 %, just inside it accepts."""
    random = numpy.random.default_rng(8)
    a = 1.1 * numpy.exp(random.normal(0, 0.05, n))
    b = numpy.exp(random.normal(0, 0.05, m))
    found = stats.ratio(a, b)

    def p(shift):
        if n == m:
            return scipy.stats.wilcoxon(numpy.log(a / b) - math.log(shift)).pvalue
        method = "exact" if n + m < 50 else "asymptotic"
        return scipy.stats.mannwhitneyu(a, b * shift, method=method).pvalue

    for limit, out in ((found.low, 0.999), (found.high, 1.001)):
        assert p(limit * out) < 0.05
        assert p(limit / out) > 0.05 * 0.97  # scipy corrects its normal distribution a bit otherwise


def test_the_interval_agrees_with_a_bootstrap_when_there_are_many_values():
    random = numpy.random.default_rng(4)
    a = 1.2 * numpy.exp(random.normal(0, 0.05, 90))
    b = numpy.exp(random.normal(0, 0.05, 90))
    wanted = scipy.stats.bootstrap((numpy.log(a / b),), numpy.mean, random_state=1,
                                   n_resamples=5000).confidence_interval
    found = stats.ratio(a, b)
    assert math.log(found.low) == pytest.approx(wanted.low, abs=0.004)
    assert math.log(found.high) == pytest.approx(wanted.high, abs=0.004)


@pytest.mark.parametrize("freedom", [1, 2, 3.7, 12, 80])
@pytest.mark.parametrize("probability", [0.6, 0.9, 0.975, 0.995])
def test_quantiles_are_those_of_scipy(freedom, probability):
    assert stats._t_quantile(probability, freedom) == pytest.approx(
        scipy.stats.t.ppf(probability, freedom), rel=1e-5)
    assert stats._normal_quantile(probability) == pytest.approx(scipy.stats.norm.ppf(probability))
    assert stats._normal_quantile(1 - probability) == pytest.approx(
        scipy.stats.norm.ppf(1 - probability))


def test_few_values_use_students_t():
    a, b = [110.0, 112, 109], [100.0, 101, 99]
    steps = numpy.log(numpy.array(a) / b)
    half = scipy.stats.t.ppf(0.975, 2) * scipy.stats.sem(steps)
    found = stats.ratio(a, b)
    assert found.low == pytest.approx(math.exp(steps.mean() - half))
    assert found.high == pytest.approx(math.exp(steps.mean() + half))
    assert stats.ratio([3.0], [2.0]) == (1.5, 0.0, math.inf)
    assert str(stats.ratio([3.0], [2.0])) == "1.5000 [unknown]"


def test_pairs_cancel_what_they_share():
    random = numpy.random.default_rng(2)
    minutes = numpy.exp(random.normal(0, 0.3, 10))  # the machine's speed, the same for a pair
    a, b = 1.02 * minutes, minutes * numpy.exp(random.normal(0, 1e-3, 10))
    assert stats.ratio(a, b).low > 1.01
    assert stats.ratio(a, b, paired=False).low < 1


def test_value_is_the_ratio_of_medians_and_lies_in_its_interval():
    random = numpy.random.default_rng(6)
    for n in range(2, 30):
        a, b = random.lognormal(0, 1, n), random.lognormal(0, 1, n)
        found = stats.ratio(a, b)
        assert found.value == pytest.approx(numpy.median(a) / numpy.median(b))
        assert found.low <= found.value <= found.high
    assert stats.ratio([2.0] * 7, [1.0] * 7) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("a, b", [([], [1.0]), ([1.0], []), ([1.0, 0.0], [1.0, 1.0]),
                                  ([1.0, math.nan], [1.0, 1.0]), ([1.0, math.inf], [1.0, 1.0])])
def test_what_has_no_ratio_is_refused(a, b):
    with pytest.raises(ValueError):
        stats.ratio(a, b)


def test_thresholds():
    base = [100.0] * 8
    assert stats.verdict([101.0] * 8, base, stats.SWITCH).word == "GO"
    assert stats.verdict([100.9] * 8, base, stats.SWITCH).word == "NEUTRAL"
    assert stats.verdict([100.5] * 8, base, stats.BUILD).word == "GO"
    assert stats.verdict([100.4] * 8, base, stats.BUILD).word == "NEUTRAL"
    assert stats.verdict([99.0] * 8, base, stats.SWITCH).word == "NO-GO"
    assert stats.verdict([99.1] * 8, base, stats.SWITCH).word == "NEUTRAL"
    noisy = [90.0, 130, 95, 120, 99, 118, 92, 125]
    assert stats.verdict(noisy, base).ratio.value > 1.05
    assert stats.verdict(noisy, base).word == "NEUTRAL"
    assert stats.verdict([150.0], [100.0]).word == "NEUTRAL"  # one run proves nothing


def test_geomean():
    ratios = [stats.Ratio(1.1, 1.0, 1.2), stats.Ratio(0.9, 0.8, 1.0), stats.Ratio(2, 1.9, 2.1)]
    found = stats.geomean(ratios)
    assert found.value == pytest.approx(scipy.stats.gmean([r.value for r in ratios]))
    assert found.low < found.value < found.high
    assert found.high / found.low < 1.25  # narrower than its parts
    one = stats.geomean(ratios[:1])
    assert one == pytest.approx(ratios[0])
    assert stats.geomean([ratios[0], stats.Ratio(1, 0, math.inf)]).high == math.inf
    with pytest.raises(ValueError):
        stats.geomean([])


def test_interval_of_the_geomean_holds_the_truth():
    random = numpy.random.default_rng(9)
    truth, held = [0.8, 1.0, 1.3, 2.0, 1.1], 0
    for _ in range(400):
        held_by = stats.geomean([stats.ratio(t * numpy.exp(random.normal(0, 0.05, 10)),
                                             numpy.exp(random.normal(0, 0.05, 10))) for t in truth])
        held += held_by.low <= scipy.stats.gmean(truth) <= held_by.high
    assert 0.925 <= held / 400 <= 0.99


def test_percentiles_and_variation():
    values = [3.0, 1, 4, 1, 5, 9, 2, 6]
    assert stats.percentiles(values, (10, 50, 99)) == pytest.approx(
        [scipy.stats.scoreatpercentile(values, p) for p in (10, 50, 99)])
    assert stats.variation(values) == pytest.approx(100 * scipy.stats.variation(values, ddof=1))
    assert stats.variation([7.0]) == 0


def test_drift():
    random = numpy.random.default_rng(5)
    times = numpy.cumsum(random.uniform(0.5, 2, 200))
    values = 100 + 0.1 * times + random.normal(0, 1, 200)
    values[::10] *= 0.5  # a robust slope does not see them
    slope = scipy.stats.theilslopes(values, times)[0]
    wanted = 100 * slope * (times[-1] - times[0]) / numpy.median(values)
    assert stats.drift(values, times) == pytest.approx(wanted)
    assert stats.drift([100.0, 101, 102, 103, 104]) == pytest.approx(100 * 4 / 102)
    assert stats.drift([5.0]) == 0
    assert stats.drift([5.0, 6.0], [1, 1]) == 0
    with pytest.raises(ValueError):
        stats.drift([1.0, 2.0], [1])


def test_drift_of_a_long_series_is_about_the_same():
    random = numpy.random.default_rng(7)
    values = 100 + numpy.linspace(0, 5, 20_000) + random.normal(0, 1, 20_000)
    assert stats.drift(values) == pytest.approx(100 * 5 / 102.5, rel=0.05)

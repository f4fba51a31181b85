# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""What repeated measurements say: ratios with intervals, verdicts, drift, spread.

How the interval of a ratio is made, and why so. A bootstrap of the median by percentiles is too
narrow for the five to fifteen repetitions that a benchmark has. So it is made from ranks, of the
logarithms:

- Paired (interleaved runs): the logarithms of a[i] / b[i], and the interval that the signed-rank
  test of Wilcoxon accepts, out of the means of all pairs of them (Walsh averages, Hodges and
  Lehmann). It is exact whatever the noise looks like, if the logarithms lie symmetrically around
  their middle; and when both sides are the same program, they do. What both runs of a pair have
  in common, a slow minute or a drift, cancels out.
- Not paired: the interval that the test of Mann and Whitney accepts, out of the differences of
  the logarithms of all a and all b.
- With so few values that no rank reaches the level (95 %: under six pairs): Student's t of the
  logarithms. With one value, nothing is known: from 0 to infinity.

There is no chance in it: the same values give the same interval.
"""

import functools
import math
from typing import NamedTuple

import numpy

SWITCH = 1.0  # percent of change that a switch at run time must bring
BUILD = 0.5   # percent of change that a build of its own must bring
RANKS_MAX = 100  # values up to which ranks are counted exactly; the normal distribution beyond
SLOPES_MAX = 1000  # values up to which every pair gives a slope


class Ratio(NamedTuple):
    """How many times faster (or larger) the first is, and the interval around it."""

    value: float
    low: float
    high: float

    def __str__(self):
        if math.isinf(self.high):
            return f"{self.value:.4f} [unknown]"
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


class Verdict(NamedTuple):
    """word: GO, NO-GO or NEUTRAL."""

    word: str
    ratio: Ratio


def _positive(values):
    values = numpy.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values):
        raise ValueError("no values to compare")
    if not numpy.all(numpy.isfinite(values) & (values > 0)):
        raise ValueError("a ratio needs finite values above 0")
    return values


def _normal_quantile(probability):
    """By Newton's method, on erf."""
    x = 0.0
    for _ in range(50):
        density = math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        x -= (0.5 * (1 + math.erf(x / math.sqrt(2))) - probability) / max(density, 1e-3)
    return x


@functools.lru_cache(maxsize=64)
def _t_quantile(probability, freedom):
    """With x = sqrt(freedom) tan(angle), the distribution is the integral of a power of cos."""
    angle = numpy.linspace(0, math.pi / 2, 100_001)
    density = numpy.cos(angle) ** (freedom - 1)
    area = numpy.concatenate(([0], numpy.cumsum(density[1:] + density[:-1])))
    found = numpy.interp(2 * probability - 1, area / area[-1], angle)
    return math.sqrt(freedom) * math.tan(found)


@functools.lru_cache(maxsize=64)
def _signed_rank(n):
    """Probabilities of the sums of signed ranks, 0 … n (n + 1) / 2, when signs are chance."""
    chance = numpy.zeros(n * (n + 1) // 2 + 1)
    chance[0] = 1
    for rank in range(1, n + 1):
        chance[rank:] = chance[rank:] + chance[:-rank]
        chance /= 2
    return chance


def _rank_sum(n, m):
    """Probabilities of Mann and Whitney's U, 0 … n m, when both sides are alike: the coefficients
    of the Gaussian binomial, the product over i of (1 - q^(m+i)) / (1 - q^i)."""
    count = numpy.zeros(n * m + 1)
    count[0] = 1
    for i in range(1, n + 1):
        if m + i < len(count):
            count[m + i:] = count[m + i:] - count[:-(m + i)]
        for at in range(i, len(count)):
            count[at] += count[at - i]
        count /= count.max()
    return count / count.sum()


def _accepted(estimates, chance, level, spread):
    """The inner estimates that a rank test accepts, or None if it can refuse nothing. chance: the
    distribution of its statistic, exact; or None, and spread is its standard deviation."""
    estimates = numpy.sort(estimates)
    tail = (1 - level) / 2
    if chance is None:
        cut = int(len(estimates) / 2 - 0.5 + _normal_quantile(tail) * spread) + 1
    else:
        cut = int(numpy.searchsorted(numpy.cumsum(chance), tail * (1 + 1e-9), side="right"))
    return (estimates[cut - 1], estimates[-cut]) if cut > 0 else None


def _paired(a, b, level):
    """The interval of the logarithm of a / b, by repetition."""
    steps = numpy.log(a / b)
    n = len(steps)
    first, second = numpy.triu_indices(n)
    chance = _signed_rank(n) if n <= RANKS_MAX else None
    found = _accepted((steps[first] + steps[second]) / 2, chance, level,
                      math.sqrt(n * (n + 1) * (2 * n + 1) / 24))
    if found:
        return found
    half = _t_quantile((1 + level) / 2, n - 1) * steps.std(ddof=1) / math.sqrt(n)
    return steps.mean() - half, steps.mean() + half


def _unpaired(a, b, level):
    """The interval of the logarithm of a / b, every a against every b."""
    a, b = numpy.log(a), numpy.log(b)
    n, m = len(a), len(b)
    chance = _rank_sum(n, m) if max(n, m) <= RANKS_MAX // 2 else None
    found = _accepted(numpy.subtract.outer(a, b).ravel(), chance, level,
                      math.sqrt(n * m * (n + m + 1) / 12))
    if found:
        return found
    parts = a.var(ddof=1) / n, b.var(ddof=1) / m
    freedom = sum(parts) ** 2 / max(parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1), 1e-300)
    half = _t_quantile((1 + level) / 2, max(freedom, min(n, m) - 1)) * math.sqrt(sum(parts))
    middle = a.mean() - b.mean()
    return middle - half, middle + half


def ratio(a, b, level=0.95, paired=True):
    """Median of a over median of b, with an interval (see above) that includes it. Values of equal
    number are pairs, unless `paired` says otherwise."""
    a, b = _positive(a), _positive(b)
    value = float(numpy.median(a) / numpy.median(b))
    if min(len(a), len(b)) < 2:
        return Ratio(value, 0.0, math.inf)
    by = _paired if paired and len(a) == len(b) else _unpaired
    low, high = (float(numpy.exp(min(x, 700))) for x in by(a, b, level))
    return Ratio(value, min(low, value), max(high, value))


def verdict(a, b, change=SWITCH):
    """Whether a, the candidate, is better than b, the base, in ops a second: GO when it is faster by
    `change` percent or more and the whole interval is above 1; NO-GO the same below; else NEUTRAL."""
    found = ratio(a, b)
    step = round(100 * (found.value - 1), 9)
    if step >= change and found.low > 1:
        return Verdict("GO", found)
    if step <= -change and found.high < 1:
        return Verdict("NO-GO", found)
    return Verdict("NEUTRAL", found)


def geomean(ratios):
    """Geometric mean of Ratios that were measured independently. Its interval is about these
    workloads, and says nothing of others: the distances of the limits, squared and added (method
    of variance estimates recovery)."""
    table = numpy.log([[max(x, 1e-300) for x in one] for one in ratios])
    if not len(table):
        raise ValueError("no ratios to average")
    middle = table[:, 0].mean()
    down, up = (math.sqrt(((table[:, side] - table[:, 0]) ** 2).sum()) / len(table)
                for side in (1, 2))
    low, high = math.exp(middle - down), math.exp(middle + up) if up < 600 else math.inf
    return Ratio(math.exp(middle), low, high)


def percentiles(values, percents=(5, 25, 50, 75, 95)):
    """[value below which that percent lie, …], between values by a straight line."""
    return [float(x) for x in numpy.percentile(numpy.asarray(values, dtype=float), percents)]


def variation(values):
    """Coefficient of variation in percent: standard deviation over mean. 0 for a single value."""
    values = numpy.asarray(values, dtype=float)
    if len(values) < 2:
        return 0.0
    return float(100 * values.std(ddof=1) / abs(values.mean()))


def drift(values, times=None):
    """Change over the whole run in percent of the median, by Theil and Sen: the median slope of all
    pairs, which a quarter of outliers cannot move far. Long series are cut into blocks, each by its
    medians. times: when they were measured; evenly, if not given. 0 for a single value."""
    values = numpy.asarray(values, dtype=float)
    times = numpy.arange(len(values)) if times is None else numpy.asarray(times, dtype=float)
    if len(values) != len(times):
        raise ValueError("as many times as values")
    if len(values) < 2 or times.max() == times.min():
        return 0.0
    span, middle = times.max() - times.min(), numpy.median(values)
    if len(values) > SLOPES_MAX:
        order = numpy.array_split(numpy.argsort(times, kind="stable"), SLOPES_MAX)
        values = numpy.array([numpy.median(values[block]) for block in order])
        times = numpy.array([numpy.median(times[block]) for block in order])
    first, second = numpy.triu_indices(len(values), 1)
    run = times[second] - times[first]
    slopes = (values[second] - values[first])[run != 0] / run[run != 0]
    return float(100 * numpy.median(slopes) * span / middle)

"""PromQL of histograms. Prometheus stores them as native or as classic ones, and each query answers for either.

A native histogram is one series with the name of its family, a classic one has ``_bucket``, ``_sum`` and ``_count``.
Of a series that there is as both, the native one counts. Where a window holds the switch from one to the other, what
was observed since then counts.

Sums and counts are exact of a mixture, too. A quantile of native and classic series together cannot be: it is the
larger one of the two, so that it is never below the truth.
"""

from typing import Final, NamedTuple

from grafana.source.queries import RANGE, STEP, ratio, rising

#: Functions of native histograms. A server that has no such histograms may not know them, and would refuse the whole
#: query, so variables of these names stand in their places.
FUNCTIONS: Final = ("histogram_sum", "histogram_count")


class Histogram(NamedTuple):
    """The selectors of one family's series."""

    native: str
    buckets: str
    sums: str
    counts: str


def quantile(level: float, of: Histogram, *by: str, window: str = STEP) -> str:
    """A quantile; no sample without observations (the comparison drops NaN)."""
    native = f"histogram_quantile({level}, sum {_by(by)}(rate({of.native}[{window}])))"
    classic = f"histogram_quantile({level}, sum {_by((*by, 'le'))}(rate({of.buckets}[{window}])))"
    # Buckets are many: whether some have no native histogram beside them is asked of counts. A native one counts before
    # it has a rate, which makes a gap of one scrape at a switch: a second rate would cost more.
    alone = f"count {_by(by)}(rate({of.counts}[{window}]) unless {of.native})"
    needed = f"{classic} and on ({', '.join(by)}) {alone}"
    return f'max {_by(by)}({native} or label_replace({needed}, "histogram", "classic", "", "")) >= 0'


def sum_per_second(of: Histogram, *by: str, window: str = STEP) -> str:
    """What the observations of a second add up to."""
    return _per_second("histogram_sum", of.native, of.sums, by, f"[{window}]")


def leading_sums(of: Histogram, *by: str) -> str:
    """These sums of those that have most over the whole range, if they have any."""
    over_all = _per_second("histogram_sum", of.native, of.sums, by, f"[{RANGE}] @ end()")
    return rising(sum_per_second(of, *by), over_all, *by)


def mean(of: Histogram, *by: str, window: str = STEP) -> str:
    """The mean of the observations."""
    count = _per_second("histogram_count", of.native, of.counts, by, f"[{window}]")
    return ratio(sum_per_second(of, *by, window=window), count)


def native_rates(of: Histogram) -> str:
    """Observations per second as one native histogram, for a heatmap."""
    return f"sum (rate({of.native}[{STEP}]))"


def classic_rates(of: Histogram) -> str:
    """Observations per second in each classic bucket, where there is no native histogram."""
    return f"sum by (le) (rate({of.buckets}[{STEP}])) unless on () count ({of.native})"


def _per_second(function: str, native: str, classic: str, by: tuple[str, ...], window: str) -> str:
    return f"sum {_by(by)}(${function}(rate({native}{window})) or rate({classic}{window}))"


def _by(labels: tuple[str, ...]) -> str:
    return f"by ({', '.join(labels)}) " if labels else ""

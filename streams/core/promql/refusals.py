"""Say what cannot be planned, and why. In: nothing. Out: the error, and a table of reasons.

The rule this file owns: what a stream cannot evaluate is refused when rules are loaded, and each
function that Prometheus has and planewatch has not stands here with its reason.
"""

from collections.abc import Mapping
from typing import Final


class PlanError(ValueError):
    """An expression cannot be evaluated here; the message says why and what to do."""


class CycleError(PlanError):
    """A recorded name depends on itself."""


EXPERIMENTAL: Final = "it is experimental in Prometheus, and may change or go"
_NATIVE: Final = "it reads native histograms, which are not kept: histograms have buckets with `le`"

REFUSED_FUNCTIONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "double_exponential_smoothing",
            "end",
            "first_over_time",
            "histogram_quantiles",
            "holt_winters",
            "info",
            "mad_over_time",
            "max_of",
            "min_of",
            "range",
            "sort_by_label",
            "sort_by_label_desc",
            "start",
            "step",
            "ts_of_first_over_time",
            "ts_of_last_over_time",
            "ts_of_max_over_time",
            "ts_of_min_over_time",
        ),
        EXPERIMENTAL,
    ),
    **dict.fromkeys(
        (
            "histogram_avg",
            "histogram_count",
            "histogram_stddev",
            "histogram_stdvar",
            "histogram_sum",
        ),
        _NATIVE,
    ),
}
REFUSED_AGGREGATIONS: Final[Mapping[str, str]] = dict.fromkeys(
    ("limitk", "limit_ratio"), EXPERIMENTAL
)

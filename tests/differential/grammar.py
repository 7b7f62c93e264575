"""Compose expressions. In: a seed, and whether rate and increase may occur. Out: PromQL texts over
the families of tests/differential/world.py.

Rules: what comes out is valid PromQL and mostly meaningful: operators meet operands whose labels
can match, so that results are seldom empty. Ties are avoided where order decides (topk). What
jumps (floor, ==, changes) is asked of samples only, and where rates occur nothing is compared with
a round number or with another rate: two numbers that differ in their last bit must not differ by
more.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

LABELS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "queue_depth": {"queue": ("q1", "q2", "q3")},
    "odd_value": {"kind": ("x", "y", "z")},
    "seats_used": {"level": ("high", "low"), "flow": ("f1", "f2")},
    "seats_limit": {"level": ("high", "low")},
    "flapping": {"n": ("0", "1", "2")},
    "db_bytes": {},
    "up": {},
    "build_info": {"version": ("1.30", "1.31", "3.6")},
    "requests_total": {
        "verb": ("GET", "LIST", "PUT"),
        "code": ("200", "404", "500"),
        "resource": ("pods", "nodes", "leases"),
    },
    "proposals_total": {"kind": ("read", "write", "x")},
    "latency_seconds_bucket": {
        "verb": ("GET", "LIST"),
        "le": ("0.1", "0.5", "1", "5", "+Inf"),
    },
    "latency_seconds_sum": {"verb": ("GET", "LIST")},
    "latency_seconds_count": {"verb": ("GET", "LIST")},
    "fsync_seconds_bucket": {"le": ("0.001", "0.01", "0.128", "+Inf")},
    "gc_seconds": {"quantile": ("0.5", "0.99")},
    "process_start_time_seconds": {},
}
TARGET: Final[Mapping[str, tuple[str, ...]]] = {
    "job": ("apiserver", "etcd"),
    "instance": ("a", "b", "c", "e1", "e2"),
    "zone": ("z1", "z2"),
}
COUNTERS: Final = (
    "requests_total",
    "proposals_total",
    "latency_seconds_bucket",
    "latency_seconds_sum",
    "latency_seconds_count",
    "fsync_seconds_bucket",
)
GAUGES: Final = ("queue_depth", "queue_depth", "seats_used", "seats_limit", "flapping", "db_bytes")
WINDOWS: Final = ("1m", "2m", "5m", "10m", "45s", "100s", "3m20s", "7m", "61s500ms", "20m")
OFFSETS: Final = ("15s", "1m", "90s", "5m", "7s", "10m")
STEPS: Final = ("15s", "30s", "1m", "20s", "")
OVER_TIME: Final = """
avg_over_time min_over_time max_over_time sum_over_time count_over_time last_over_time
present_over_time stddev_over_time stdvar_over_time changes resets delta idelta deriv irate
""".split()  # noqa: SIM905
SMOOTH: Final = "abs sqrt exp deg atan -".split()  # noqa: SIM905
STEPPED: Final = "ceil floor sgn round".split()  # noqa: SIM905
AGGREGATIONS: Final = "sum avg min max count group stddev stdvar".split()  # noqa: SIM905
ARITHMETIC: Final = "+ - * /".split()  # noqa: SIM905
COMPARISONS: Final = "> < >= <= == !=".split()  # noqa: SIM905
NUMBERS: Final = ("0", "0.5", "2", "10", "-3", "1e3", "25.25")
SMOOTH_OVER_TIME: Final = """
avg_over_time min_over_time max_over_time sum_over_time count_over_time last_over_time deriv
""".split()  # noqa: SIM905
SMOOTH_NUMBERS: Final = ("0.3137", "2.7183", "-3.1", "17.77", "1013.3")


@dataclass(frozen=True, slots=True)
class Grammar:
    """Composes from one source of chance."""

    rng: random.Random
    rates: bool

    def vector(self, depth: int) -> str:
        """Return an instant vector of any shape."""
        if depth <= 0:
            return self.shaped(self.family(), 0)
        makers: list[Callable[[int], str]] = [
            lambda d: self.shaped(self.family(), d),
            self.aggregation,
            self.aggregation,
            self.with_scalar,
            self.with_scalar,
            self.one_to_one,
            self.aggregated_pair,
            self.many_to_one,
            self.sets,
            self.quantile,
            self.relabelled,
            self.subquery,
            self.ranked,
            self.odds,
        ]
        return self.rng.choice(makers)(depth - 1)

    def family(self) -> str:
        """Return a family."""
        if self.rates:
            return self.rng.choice((*COUNTERS, *COUNTERS, *GAUGES))
        return self.rng.choice((*GAUGES, *LABELS))

    def matchers(self, family: str, *, less: str = "") -> str:
        """Return some matchers, in braces; none of them on the label `less`."""
        rng, found = self.rng, []
        for label, values in {**LABELS[family], **TARGET}.items():
            if label == less or rng.random() > 0.2:
                continue
            value = rng.choice(values)
            forms = [
                f'{label}="{value}"',
                f'{label}!="{value}"',
                f'{label}=~"{_pattern(value)}|{_pattern(rng.choice(values))}"',
            ]
            if label != "le":  # bounds are numbers to us: 5 is matched as 5.0 too
                forms += [
                    f'{label}!~"{_pattern(value[:1])}.+"',
                    f'{label}=~".*{_pattern(value[-1:])}"',
                ]
            found.append(rng.choice(forms))
        if rng.random() < 0.05:
            found.append(
                rng.choice(('nothing=""', 'nothing!="x"', 'nothing!~".+"', "nothing=~'.*'"))
            )
        return f"{{{','.join(found)}}}" if found else ""

    def selector(self, family: str) -> str:
        """Return an instant selector, sometimes of the past."""
        offset = f" offset {self.rng.choice(OFFSETS)}" if self.rng.random() < 0.15 else ""
        return f"{family}{self.matchers(family)}{offset}"

    def ranged(self, family: str) -> str:
        """Return a range selector, sometimes of the past."""
        offset = f" offset {self.rng.choice(OFFSETS)}" if self.rng.random() < 0.15 else ""
        return f"{family}{self.matchers(family)}[{self.rng.choice(WINDOWS)}]{offset}"

    def shaped(self, family: str, depth: int) -> str:
        """Return a vector with the labels of a family (without its name, mostly)."""
        rng = self.rng
        if depth > 0 and rng.random() < 0.4:
            name = rng.choice(SMOOTH if self.rates else (*SMOOTH, *STEPPED))
            inner = self.selector(family) if name in STEPPED else self.shaped(family, depth - 1)
            return f"-({inner})" if name == "-" else f"{name}({inner})"
        if self.rates and family in COUNTERS:
            return f"{rng.choice(('rate', 'increase'))}({self.ranged(family)})"
        return self.exact(family)

    def exact(self, family: str) -> str:
        """Return a selector, or a function of a range that both engines compute alike."""
        rng, ranged = self.rng, self.ranged(family)
        every = (
            *(self.selector(family),) * 6,
            f"quantile_over_time({rng.choice(('0.1', '0.5', '0.9'))}, {ranged})",
            f"predict_linear({ranged}, {rng.choice(('60', '600', '-30'))})",
            f"clamp({self.selector(family)}, {rng.choice(('-5', '0'))}, 40)",
            f"(timestamp({self.selector(family)}) - 1709249400)",
            *(f"{rng.choice(OVER_TIME)}({ranged})",) * 7,
        )
        return rng.choice(every)

    def aggregation(self, depth: int) -> str:
        """Return an aggregation, by some labels or without."""
        return self.aggregated(self.vector(depth))

    def aggregated(self, inner: str) -> str:
        """Return an aggregation of an expression."""
        rng, modifier = self.rng, self.modifier()
        chance = rng.random()
        if chance < 0.1:
            return f"quantile{modifier} ({rng.choice(('0.2', '0.5', '0.95'))}, {inner})"
        if chance < 0.15 and not self.rates:
            return f'count_values{modifier} ("v", round({inner}, 10))'
        return f"{rng.choice(AGGREGATIONS)}{modifier} ({inner})"

    def modifier(self) -> str:
        """Return `by (...)`, `without (...)` or nothing."""
        rng = self.rng
        labels = ("job", "instance", "zone", "queue", "level", "verb", "code", "kind", "le")
        chosen = ", ".join(rng.sample(labels, rng.choice((0, 1, 1, 2, 2, 3))))
        return rng.choice(("", f" by ({chosen})", f" by ({chosen})", f" without ({chosen})"))

    def with_scalar(self, depth: int) -> str:
        """Return a vector and a number around an operator."""
        rng, vector = self.rng, f"({self.vector(depth)})"
        number = rng.choice(SMOOTH_NUMBERS if self.rates else NUMBERS)
        if rng.random() < 0.15:
            number = rng.choice(("time() / 1e6", f"scalar(max({self.vector(0)}))", "pi()"))
        op = rng.choice((*ARITHMETIC, ">", "<"))
        if not self.rates and rng.random() < 0.2:
            op, vector = rng.choice(COMPARISONS), self.selector(self.family())
        if op in COMPARISONS and rng.random() < 0.3:
            op += " bool"
        return f"{vector} {op} {number}" if rng.random() < 0.75 else f"{number} {op} {vector}"

    def one_to_one(self, depth: int) -> str:
        """Return two vectors of one family around an operator."""
        rng, family = self.rng, self.family()
        if self.rates or rng.random() < 0.4:
            op = rng.choice("+*/" if self.rates else ARITHMETIC)
            return f"({self.shaped(family, depth)}) {op} ({self.shaped(family, depth)})"
        op = rng.choice(COMPARISONS) + rng.choice(("", "", " bool"))
        return f"{self.selector(family)} {op} {self.selector(family)}"

    def aggregated_pair(self, depth: int) -> str:
        """Return two sums by the same labels around an operator."""
        rng = self.rng
        by = rng.choice(("instance", "job", "zone", "job, zone", "instance, job"))
        one, two = (
            f"{rng.choice(('sum', 'max', 'avg', 'count'))} by ({by}) ({self.vector(depth)})"
            for _ in range(2)
        )
        matching = rng.choice(("", f" on ({by})", " ignoring (nothing)"))
        return f"{one} {rng.choice('+*' if self.rates else '+-*/>')}{matching} {two}"

    def many_to_one(self, depth: int) -> str:
        """Return a join with group_left or group_right."""
        rng, op = self.rng, self.rng.choice("+*/" if self.rates else "+-*/>")
        kind = rng.randrange(4)
        if kind == 0:
            many, one = self.shaped("seats_used", depth), self.shaped("seats_limit", 0)
            return f"{many} {op} on (instance, level) group_left () ({one})"
        if kind == 1:
            return f"({self.vector(depth)}) * on (job, instance) group_left (version) build_info"
        if kind == 2:
            one = f"sum by (instance) ({self.vector(depth)})"
            return f"{one} {op} on (instance) group_right () ({self.shaped(self.family(), 0)})"
        family = self.family()
        per = rng.choice(("max", "sum"))
        return f"({self.shaped(family, 0)}) {op} on (instance) group_left {per} by (instance) (up)"

    def sets(self, depth: int) -> str:
        """Return a set operator."""
        rng, op = self.rng, self.rng.choice(("and", "or", "unless"))
        matching = rng.choice(
            ("", " on (instance)", " on (zone)", " ignoring (queue, level, verb)")
        )
        return f"({self.vector(depth)}) {op}{matching} ({self.vector(depth)})"

    def quantile(self, depth: int) -> str:
        """Return a quantile of classic histograms."""
        rng = self.rng
        family = rng.choice(("latency_seconds_bucket", "fsync_seconds_bucket"))
        inside = f"{family}{self.matchers(family, less='le')}"
        if self.rates or rng.random() < 0.3:
            function = rng.choice(("rate", "increase")) if self.rates else "delta"
            inside = f"{function}({inside}[{rng.choice(WINDOWS)}])"
        if rng.random() < 0.6:
            inside = f"sum by (le, {rng.choice(('job', 'instance', 'zone', 'verb'))}) ({inside})"
        return f"histogram_quantile({rng.choice(('0.5', '0.9', '0.99', '0'))}, {inside})"

    def relabelled(self, depth: int) -> str:
        """Return a vector with a label more."""
        inner = self.vector(depth)
        return self.rng.choice(
            (
                f'label_replace({inner}, "made", "$1-x", "instance", "(.).*")',
                f'label_replace({inner}, "zone", "${{1}}", "job", "(api|e).*")',
                f'label_join({inner}, "made", "-", "zone", "instance")',
            )
        )

    def subquery(self, depth: int) -> str:
        """Return a function over the past results of an expression."""
        rng, inner = self.rng, self.vector(min(depth, 1))
        offset = f" offset {rng.choice(OFFSETS)}" if rng.random() < 0.2 else ""
        range_ = f"({inner})[{rng.choice(('2m', '5m', '100s'))}:{rng.choice(STEPS)}]{offset}"
        if not self.rates and rng.random() < 0.2:
            stepped = f"({self.selector(self.family())})[5m:{rng.choice(STEPS)}]"
            return f"{rng.choice(('changes', 'resets'))}({stepped})"
        if rng.random() < 0.2:
            return f"quantile_over_time(0.5, {range_})"
        if self.rates and rng.random() < 0.2:  # of counters: a rate that is constant may tremble
            family = rng.choice(COUNTERS)
            return f"rate({family}{self.matchers(family)}[10m:{rng.choice(STEPS)}]{offset})"
        return f"{rng.choice(SMOOTH_OVER_TIME)}({range_})"

    def ranked(self, depth: int) -> str:
        """Return the greatest or least, of values that differ."""
        rng = self.rng
        by = rng.choice(("", " by (zone)", " by (job)", " without (instance)"))
        op, k = rng.choice(("topk", "bottomk")), rng.choice("123")
        if self.rates:  # counters idle, so that rates tie; sums do not tell which were taken
            counted = f"{rng.choice(('rate', 'increase'))}({self.ranged('requests_total')})"
            return f"sum{by} ({op}{by} ({k}, {counted}))"
        unlike = self.selector("queue_depth")
        if rng.random() < 0.5:
            unlike = f"{rng.choice(('avg_over_time', 'deriv'))}({self.ranged('queue_depth')})"
        return f"{op}{by} ({k}, {unlike})"

    def odds(self, depth: int) -> str:
        """Return what is rarer."""
        inner = self.vector(depth)
        return self.rng.choice(
            (
                f"absent({inner})",
                f"absent_over_time({self.ranged(self.family())})",
                f"vector(scalar({inner}))",
                f"sort({inner})",
                f"hour({self.shaped('process_start_time_seconds', 0)})",
                f"vector({self.rng.choice(NUMBERS)}) + on () ({inner})",
                f"({inner}) * on () group_left () vector(2)",
                f"({inner}) or vector(0)",
                f"count({inner}) > 0",
            )
        )


def _pattern(text: str) -> str:
    return text.replace("+", "[+]").replace(".", "[.]")


def expressions(seed: int, count: int, *, rates: bool) -> list[str]:
    """Return different expressions. With `rates` each holds a rate or an increase, else none."""
    grammar = Grammar(random.Random(f"{seed}-{rates}"), rates)
    found: dict[str, None] = {}
    while len(found) < count:
        text = grammar.vector(grammar.rng.choice((1, 2, 2, 3)))
        if has_rate(text) == rates:
            found[text] = None
    return list(found)


def has_rate(text: str) -> bool:
    """Tell whether an expression holds a function whose estimate differs by design."""
    return any(
        part.rstrip().endswith(name) and not part.rstrip().endswith("irate")
        for part in text.split("(")
        for name in ("rate", "increase")
    )

"""Expressions as people write them, and one for each thing that the language has.

In: nothing. Out: texts over the families of tests/differential/world.py. Rule: whatever the
language has occurs here by name, so that no feature depends on a seed.
"""

from typing import Final

RULES: Final = """
up == 0
sum by (job) (up)
count by (job) (up == 1) < 3
avg by (job, zone) (up) * 100
scrape_samples_scraped
scrape_duration_seconds > 0.01
sum(up{job="apiserver"} == 0) / count(up{job="apiserver"})
absent(up{job="apiserver"} == 1)
absent(up{job="kube-scheduler"})
has_leader == 0
max without (endpoint, kind) (has_leader) == 0
count by (job) (has_leader == bool 0) > 0
changes(has_leader[10m]) >= 4
changes(process_start_time_seconds[15m]) > 0
time() - process_start_time_seconds < 600
time() - max by (instance) (process_start_time_seconds{job="apiserver"})
db_bytes / 1024 ^ 2
predict_linear(db_bytes[10m], 4 * 3600) > 2.05e9
(last_over_time(db_bytes[5m]) / 4e9) * 100 > 40
deriv(db_bytes[15m]) > 0
max_over_time(queue_depth[5m]) - min_over_time(queue_depth[5m]) > 20
avg_over_time(queue_depth{queue=~"q1|q2"}[10m])
quantile_over_time(0.9, queue_depth[10m])
topk(3, queue_depth)
topk by (zone) (1, queue_depth{job="apiserver"})
bottomk(2, queue_depth) by (job)
sum by (level, instance) (seats_used) / on (level, instance) seats_limit
sum without (flow) (seats_used) / ignoring (flow) seats_limit > 1
seats_used / on (level, instance) group_left () seats_limit
seats_used / ignoring (flow) group_left seats_limit
seats_limit - on (level, instance) group_right () seats_used
queue_depth * on (job, instance) group_left (version) build_info
queue_depth{job="apiserver"} * on (instance) group_left (version, text) build_info{job="apiserver"}
count by (version) (build_info) > 1
count_values("version_of", seats_limit)
count_values by (instance) ("depth", round(queue_depth, 20))
count(count by (version) (build_info{job="apiserver"}))
queue_depth > 30 and on (instance) up == 1
queue_depth > 30 or queue_depth < -10
queue_depth unless on (instance) (up == 0)
queue_depth{queue="q1"} or on (instance) queue_depth{queue="q2"}
(queue_depth > 20) and ignoring (queue, instance) (queue_depth{queue="q1"} > 10)
label_replace(up, "node", "$1-of-$2", "instance", "(.)(.*)")
label_replace(queue_depth, "__name__", "renamed", "", "")
label_replace(queue_depth, "was", "$1", "__name__", "(.*)")
label_replace(max_over_time(queue_depth[5m]), "was", "x$1", "__name__", "(.*)")
label_replace(queue_depth, "queue", "", "queue", "q1")
label_replace(queue_depth, "queue", "all", "queue", ".*")
label_join(queue_depth, "where", "/", "job", "instance", "nothing", "queue")
histogram_quantile(0.9, latency_seconds_bucket)
histogram_quantile(0.99, sum by (le) (latency_seconds_bucket))
histogram_quantile(0.5, sum by (le, verb) (latency_seconds_bucket{verb="GET"}))
histogram_quantile(0.5, fsync_seconds_bucket) > 0.005
histogram_quantile(0.99, increase(latency_seconds_bucket[5m]))
histogram_quantile(0.99, sum by (le, verb) (rate(latency_seconds_bucket{job="apiserver"}[5m]))) > 1
histogram_quantile(0.99, rate(fsync_seconds_bucket{job=~".*etcd.*"}[5m])) > 0.5
histogram_quantile(0.5, delta(latency_seconds_bucket[5m]))
latency_seconds_sum / latency_seconds_count
latency_seconds_bucket{le="1"} / ignoring (le) latency_seconds_count
latency_seconds_bucket{le=~"0.1|0.5",verb!="LIST"}
sum by (le) (latency_seconds_bucket{le!="+Inf"})
sum(rate(requests_total{code=~"5.."}[5m])) / sum(rate(requests_total[5m])) * 100 > 5
sum by (verb) (rate(requests_total[5m]))
sum by (code) (increase(requests_total[10m])) > 0
sum(rate(latency_seconds_sum[5m])) by (verb) / sum(rate(latency_seconds_count[5m])) by (verb)
1 - sum(rate(latency_seconds_bucket{le="1"}[10m])) / sum(rate(latency_seconds_count[10m]))
increase(leader_changes_total[15m]) >= 4
increase((max by (job) (leader_changes_total) or 0 * absent(leader_changes_total))[15m:1m]) >= 4
rate(proposals_total{kind!="x"}[2m])
max by (instance) (rate(gc_seconds_sum[5m]) / rate(gc_seconds_count[5m]))
gc_seconds{quantile="0.99"} > 0
irate(requests_total{job="apiserver"}[2m])
sum by (instance) (irate(requests_total[1m])) > 0
resets(requests_total[20m]) > 0
sum(resets(latency_seconds_count[30m]))
avg_over_time(up[10m]) < 1
sum_over_time(up[20m])
min_over_time((queue_depth > 0)[10m:30s])
max_over_time(sum by (instance) (queue_depth)[5m:15s])
avg_over_time(rate(requests_total{verb="GET",code="200"}[2m])[5m:1m])
queue_depth - queue_depth offset 5m
sum(rate(requests_total[5m])) - sum(rate(requests_total[5m] offset 5m))
avg_over_time(queue_depth[5m] offset 10m)
max_over_time(queue_depth[5m:30s] offset 3m)
absent(nothing{kind="a",zone=~"b.*",kind!="c"})
absent(nothing{kind="a"}) or absent(queue_depth)
absent_over_time(nothing{kind="a"}[5m])
absent_over_time(flapping{n="0"}[2m])
absent(sum(nothing))
vector(1)
vector(time()) - 60
scalar(queue_depth{instance="a",queue="q1"}) + 1
scalar(queue_depth)
queue_depth > scalar(avg(queue_depth))
sum(nothing) or vector(0)
sum(rate(nothing[5m])) or vector(0)
ALERTS
build_info{text="é \\"q\\"\\\\\\n"}
build_info{exported_instance="me"}
build_info{empty=""}
build_info{version=~"1[.]3.",version!~"1.3[12]"}
count({__name__="queue_depth"})
flapping
present_over_time(flapping[3m])
count_over_time(flapping[3m])
last_over_time(flapping[4m])
stddev by (job) (queue_depth)
stdvar(queue_depth)
quantile by (zone) (0.75, queue_depth)
quantile(1.5, queue_depth)
quantile(-1, queue_depth)
group by (zone) (queue_depth)
max(odd_value)
min by (instance) (odd_value)
sum by (kind) (odd_value)
avg(odd_value)
quantile(0.5, odd_value)
min(topk(2, odd_value))
max(bottomk(2, odd_value{instance="a"}))
count(topk(4, odd_value))
topk(0, queue_depth)
topk(-1, queue_depth)
topk(100, odd_value)
odd_value > 0
odd_value == odd_value
odd_value != odd_value
max_over_time(odd_value[5m])
min_over_time(odd_value[5m])
avg_over_time(odd_value[5m])
sum_over_time(odd_value[2m])
quantile_over_time(0.3, odd_value[5m])
changes(odd_value[10m])
resets(odd_value[10m])
stddev_over_time(odd_value[2m])
clamp(odd_value, -10, 10)
round(odd_value)
sgn(odd_value)
sort(queue_depth)
sort_desc(queue_depth)
timestamp(queue_depth)
timestamp(queue_depth offset 1m)
time() - timestamp(up)
timestamp(queue_depth + 0)
day_of_week() != bool 6
hour() >= 23 or minute() < 30
month(process_start_time_seconds)
queue_depth @ end()
sum_over_time(queue_depth[5m] @ start())
-queue_depth ^ 2
2 ^ 3 ^ 2
(queue_depth + queue_depth) / 2 == queue_depth
queue_depth atan2 seats_limit
seats_limit atan2 on (instance, level) sum by (instance, level) (seats_used)
queue_depth % 7
-queue_depth % 7
queue_depth % -7.5
queue_depth / 0
0 / 0 * up
1 / vector(0)
-1 / vector(0)
10 > bool 5
vector(10) > 5
5 < vector(10)
queue_depth > bool 10
queue_depth == bool on (queue, instance) queue_depth
Inf * up
NaN + up
sum by () (up)
sum without () (up)
avg without (instance, zone) (queue_depth)
""".strip().splitlines()
"""Real-looking rules and edge cases."""

_EACH: Final = """
abs ceil floor exp sqrt ln log2 log10 sgn deg rad sin cos tan asin acos atan sinh cosh tanh
asinh acosh atanh
""".split()  # noqa: SIM905
_DATES: Final = """
day_of_month day_of_week day_of_year days_in_month hour minute month year
""".split()  # noqa: SIM905
_OVER_TIME: Final = """
avg_over_time min_over_time max_over_time sum_over_time count_over_time last_over_time
present_over_time stddev_over_time stdvar_over_time changes resets delta idelta deriv irate
""".split()  # noqa: SIM905
_AGGREGATIONS: Final = "sum avg min max count group stddev stdvar".split()  # noqa: SIM905
_COMPARISONS: Final = "== != > < >= <=".split()  # noqa: SIM905
_ARITHMETIC: Final = "+ - * / % ^".split()  # noqa: SIM905
_WINDOWS: Final = ("1m", "2m", "5m", "10m", "37s", "100s", "16m40s", "14s")


def systematic() -> list[str]:
    """Return one expression, or some, for each function, operator, aggregation and modifier."""
    found = [f"{name}(queue_depth)" for name in _EACH]
    found += [f"{name}(odd_value)" for name in _EACH]
    found += [f"{name}({unit})" for name in _DATES for unit in ("", "process_start_time_seconds")]
    found += [f"{name}(vector(1e9 + 86400 * 17.3))" for name in _DATES]
    found += [
        f"{name}({series}[{_WINDOWS[(i + j) % len(_WINDOWS)]}])"
        for i, name in enumerate(_OVER_TIME)
        for j, series in enumerate(("queue_depth", "requests_total", "flapping"))
    ]
    found += [f"{name}(latency_seconds_bucket[3m])" for name in ("delta", "irate", "changes")]
    found += [f"quantile_over_time({q}, queue_depth[4m])" for q in (0, 0.5, 1, 2, -0.1)]
    found += [f"predict_linear(queue_depth[{w}], {s})" for w, s in (("5m", 600), ("10m", -60))]
    for name in _AGGREGATIONS:
        found += [
            f"{name}(queue_depth)",
            f"{name} by (job, zone) (queue_depth)",
            f"{name} without (instance, queue) (queue_depth)",
        ]
    found += [f"queue_depth {op} 12.5" for op in (*_COMPARISONS, *_ARITHMETIC)]
    found += [f"12.5 {op} queue_depth" for op in (*_COMPARISONS, *_ARITHMETIC)]
    found += [f"queue_depth {op} bool 0" for op in _COMPARISONS]
    found += [
        f"seats_used{{flow='f1'}} {op} ignoring (flow) seats_used{{flow='f2'}}"
        for op in (*_COMPARISONS, *_ARITHMETIC)
    ]
    found += [f"seats_used {op} on (level, zone) seats_limit" for op in ("and", "or", "unless")]
    found += ["clamp(queue_depth, 0, 20)", "clamp(queue_depth, 20, 0)", "clamp(up, NaN, 1)"]
    found += ["clamp_min(queue_depth, 5)", "clamp_max(odd_value, 5)", "clamp_min(odd_value, NaN)"]
    found += ["round(queue_depth, 0.1)", "round(-queue_depth, 5)", "round(queue_depth, 0)"]
    found += ["pi() * up", "time()", "scalar(up{instance='a'})", "vector(scalar(up))", "pi()"]
    return found

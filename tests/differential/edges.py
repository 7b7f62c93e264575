"""Expressions where engines tend to differ: names that functions keep or drop, labels that collide,
parameters that are no numbers, negative zero, histograms without a bucket, nested subqueries.

In: nothing. Out: texts over the families of tests/differential/world.py. Rule: whatever was once
doubted stays here.
"""

from typing import Final

EDGES: Final = """
histogram_fraction(0, 0.5, latency_seconds_bucket)
histogram_fraction(0.1, 1, sum by (le, job) (fsync_seconds_bucket))
histogram_fraction(-1, +Inf, latency_seconds_bucket)
histogram_fraction(1, 0.5, latency_seconds_bucket)
histogram_fraction(0.2, 3, delta(latency_seconds_bucket[5m]))
histogram_quantile(0.5, latency_seconds_bucket{le!="+Inf"})
histogram_quantile(0.5, latency_seconds_bucket{le="+Inf"})
histogram_quantile(NaN, latency_seconds_bucket)
histogram_quantile(-1, latency_seconds_bucket)
histogram_quantile(1.01, latency_seconds_bucket)
histogram_quantile(1, latency_seconds_bucket)
histogram_quantile(scalar(avg(up)), latency_seconds_bucket)
histogram_quantile(0.5, queue_depth)
histogram_quantile(0.5, sum by (le) (latency_seconds_bucket or fsync_seconds_bucket))
histogram_quantile(0.5, label_replace(sum by (le) (latency_seconds_bucket), "le", "x", "le", "5"))
label_replace(queue_depth > 10, "was", "$1", "__name__", "(.*)")
label_replace(queue_depth > bool 10, "was", "$1", "__name__", "(.*)")
label_replace(-queue_depth, "was", "$1", "__name__", "(.*)")
label_replace(queue_depth + 1, "was", "$1", "__name__", "(.*)")
label_replace(queue_depth and up, "was", "$1", "__name__", "(.*)")
label_replace(queue_depth and on (instance) up, "was", "$1", "__name__", "(.*)")
label_replace(queue_depth > on (instance) group_left up, "was", "$1", "__name__", "(.*)")
label_replace(topk(2, queue_depth), "was", "$1", "__name__", "(.*)")
label_replace(last_over_time(queue_depth[5m]), "was", "$1", "__name__", "(.*)")
label_replace(sort(queue_depth), "was", "$1", "__name__", "(.*)")
label_replace(clamp(queue_depth, 0, 1), "was", "$1", "__name__", "(.*)")
label_replace(timestamp(queue_depth), "was", "$1", "__name__", "(.*)")
label_replace(queue_depth or up, "was", "$1", "__name__", "(.*)")
label_replace(max by (__name__) (queue_depth), "was", "$1", "__name__", "(.*)")
label_replace(sum without (queue) (queue_depth), "was", "$1", "__name__", "(.*)")
label_replace(sum by (__name__, job) (queue_depth or up), "was", "$1", "__name__", "(.*)")
label_replace(last_over_time((queue_depth)[5m:1m]), "was", "$1", "__name__", "(.*)")
label_replace(avg_over_time((queue_depth)[5m:1m]), "was", "$1", "__name__", "(.*)")
label_replace(label_join(up, "__name__", "_", "__name__", "job"), "n", "$1", "__name__", "(.*)")
label_replace(queue_depth, "instance", "$2", "instance", "(a)|(b)")
label_replace(queue_depth, "made", "${name}-$1", "queue", "(?P<name>.)(.*)")
label_replace(queue_depth, "made", "$$1", "queue", "(.*)")
label_replace(queue_depth, "made", "x", "queue", "q")
label_replace(queue_depth, "made", "$1", "nothing", "(.*)")
label_join(queue_depth, "queue", "", "queue", "job")
label_join(queue_depth, "made", ",")
max_over_time((queue_depth @ end())[5m:1m])
queue_depth @ end() offset 5m
queue_depth offset 5m @ start()
max_over_time(queue_depth[5m] @ end() offset 1m)
max_over_time((max_over_time(queue_depth[1m]))[5m:30s] offset 2m)
max_over_time((max_over_time((queue_depth)[2m:30s]))[5m:1m])
max_over_time((queue_depth offset 2m)[5m:30s])
sum_over_time(vector(time())[5m:1m])
sum_over_time((up == 0)[10m:])
absent_over_time((up == 2)[10m:])
absent_over_time((up)[10m:])
absent_over_time(nothing{a="b",c=~"d"}[10m:30s])
count_over_time((queue_depth)[1m:7s])
count_over_time((queue_depth)[61s:17s] offset 3s)
count_over_time((flapping)[10m:15s])
changes((seats_limit)[10m:1m])
deriv((queue_depth)[10m:45s])
predict_linear((queue_depth)[10m:45s], 60)
predict_linear((queue_depth)[10m:45s] offset 2m, 60)
quantile_over_time(scalar(avg(up)), queue_depth[5m])
quantile_over_time(NaN, queue_depth[5m])
stddev_over_time(db_bytes[5m])
stdvar_over_time(db_bytes[5m])
avg_over_time(db_bytes[5m])
deriv(db_bytes[10m])
stddev(db_bytes)
avg_over_time(odd_value[10m])
stdvar_over_time(odd_value[10m])
deriv(odd_value[5m])
predict_linear(odd_value[5m], 60)
delta(odd_value[5m])
idelta(odd_value[5m])
irate(odd_value[5m])
present_over_time(odd_value[5m])
min_over_time(odd_value[15s])
quantile_over_time(1, odd_value[10m])
quantile_over_time(0, odd_value[10m])
queue_depth * on () group_left () vector(3)
queue_depth * on () vector(3)
queue_depth * on (instance) build_info
build_info * on (instance) group_left (queue) queue_depth{queue="q1"}
queue_depth{queue="q1"} * on (instance) group_left (zone, version) build_info
queue_depth{queue="q1"} * on (instance) group_left (nothing) build_info
build_info * on (instance, job) group_right (version) queue_depth
queue_depth * ignoring (version, text, exported_instance, queue) group_left (version) build_info
queue_depth and on () up == 0
queue_depth unless on () up == 0
queue_depth or on () vector(7)
vector(7) or queue_depth
up or on (instance) queue_depth
queue_depth and ignoring (queue) seats_limit
queue_depth == on (instance) group_left () queue_depth{queue="q1"}
odd_value and odd_value
odd_value or queue_depth
odd_value unless (odd_value > 0)
odd_value == bool odd_value
odd_value / odd_value
odd_value % 2
odd_value ^ 2
2 ^ odd_value
odd_value > odd_value offset 1m
odd_value != 0
NaN > bool 1
1 / 0
-1 / 0 + vector(0)
0 / 0 + vector(0)
5 % 0 + vector(0)
Inf - Inf + vector(0)
vector(5) % -3
vector(-5) % 3
0.1 + 0.2 + vector(0)
1e308 * 10 + vector(0)
0x1F + vector(0)
1h + vector(0)
5m30s * up
-up
+up
- - up
-(2 ^ 2) + vector(0)
2 ^ -1 + vector(0)
count(queue_depth) by (queue)
sum(queue_depth) without (queue, zone)
avg by (nothing) (queue_depth)
sum by (instance, instance) (queue_depth)
quantile by (queue) (NaN, queue_depth)
quantile(scalar(avg(up)), queue_depth)
topk(scalar(count(up)), queue_depth)
topk(1.9, queue_depth)
bottomk by (queue) (1, queue_depth)
topk by (nothing) (2, queue_depth)
count_values("queue", queue_depth)
count_values without (instance) ("v", seats_limit)
count_values("v", odd_value)
count_values("v", up / 3)
count_values("v", db_bytes * 1e12)
count_values("v", up * 1e-9)
group(nothing)
count(nothing)
sum(nothing)
min(queue_depth > 1e9)
scalar(nothing)
scalar(vector(3))
scalar(odd_value{instance="a",kind="x"}) + vector(0)
vector(scalar(nothing)) > 0
absent(queue_depth{queue="none",instance=~"a"})
absent(queue_depth{queue="none"} offset 5m)
absent(queue_depth{queue="none"} > 5)
absent(queue_depth{queue="none",queue!="x"})
absent(queue_depth{queue=""})
absent(vector(1))
absent(rate(nothing{a="b"}[5m]))
absent(-nothing{a="b"})
absent((nothing{a="b"}))
absent(max_over_time(nothing{a="b"}[5m]))
absent_over_time(queue_depth{queue="none"}[5m])
absent_over_time(nothing{a="b"}[5m] offset 1m)
round(queue_depth, -2)
round(queue_depth, 1/3)
round(odd_value, 0.3)
round(vector(0.5))
round(vector(-0.5))
round(vector(2.5))
round(vector(-2.5))
round(vector(1e17))
clamp(queue_depth, scalar(min(queue_depth)), 10)
clamp(odd_value, NaN, NaN)
clamp_max(odd_value, NaN)
clamp_min(odd_value, -Inf)
clamp_max(odd_value, Inf)
sgn(vector(-0.0))
abs(vector(-0.0))
ceil(vector(-0.5))
days_in_month(vector(951782400))
day_of_year(vector(1703980800))
day_of_week(vector(-1))
year(vector(-62135596800))
year(vector(253402300800))
hour(odd_value)
month(vector(NaN))
day_of_month(vector(1e19))
minute(vector(Inf))
timestamp(vector(1))
timestamp(last_over_time(queue_depth[5m]))
timestamp(timestamp(queue_depth))
timestamp(queue_depth offset 5m)
timestamp(queue_depth @ end())
timestamp((queue_depth))
timestamp(sum(queue_depth))
up{job="apiserver"} + ignoring (instance) up{job="etcd"}
up{instance="a"} + ignoring (instance, job, zone) up{instance="e1"}
up offset 5m
up{zone="z1",job=~"etc.*"}
up{nothing=""}
up{nothing="x"}
avg_over_time(up[1h])
max_over_time(scrape_samples_scraped[5m]) - min_over_time(scrape_samples_scraped[5m])
changes(up[20m])
queue_depth{queue=~"q1|"}
queue_depth{queue!~"q1|"}
queue_depth{queue=~"(?i)Q1"}
queue_depth{queue=~"q[12]",queue!="q1"}
build_info{text=~"(?s).*q.*"}
build_info{text=~".*q.*"}
build_info{text=~"é.*\\\\n"}
build_info{version="1.30",version=~"1.*"}
gc_seconds
gc_seconds_sum / gc_seconds_count
sum by (quantile) (gc_seconds)
latency_seconds_bucket{le="+Inf"} == ignoring (le) latency_seconds_count
latency_seconds_bucket{le=~"0[.].*"}
latency_seconds
requests_total_sum
sum by (le) (latency_seconds_bucket) - ignoring (le) group_left sum (latency_seconds_count)
flapping offset 30s
flapping and flapping offset 30s
(flapping unless flapping offset 30s) or (flapping offset 30s unless flapping)
process_start_time_seconds == process_start_time_seconds offset 5m
time() - process_start_time_seconds
min without () (queue_depth)
max(max(queue_depth))
avg(avg by (instance) (queue_depth))
sum(queue_depth) / count(queue_depth)
stdvar(vector(5))
vector(1) atan2 vector(2)
1 atan2 2
queue_depth atan2 2
2 atan2 queue_depth
pi() atan2 up
""".strip().splitlines()

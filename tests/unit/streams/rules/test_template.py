"""Templates read as Prometheus writes them, and unknown ones are refused when rules load."""

import math

import pytest

from streams.core.rules.template import Template, TemplateError

LABELS = {"instance": "cp-1", "verb": "LIST"}


@pytest.mark.parametrize(
    "source, value, expected",
    [
        ("plain", 0, "plain"),
        ("{{ $labels.instance }}/{{$labels.missing}}/{{ .Labels.verb }}", 0, "cp-1//LIST"),
        ("{{ $value }}", 1.5, "1.5"),
        ("{{ .Value }}", 3, "3"),
        ("{{ $value }}", 1e16, "10000000000000000"),
        ("{{ $value }}", 1e21, "1e+21"),
        ("{{ $value }}", 0.00001, "1e-05"),
        ("{{ $value }}", math.nan, "NaN"),
        ("{{ $value }}", -math.inf, "-Inf"),
        ("{{ $value | humanize }}", 1234567, "1.235M"),
        ("{{ $value | humanize }}", 0.00123, "1.23m"),
        ("{{ $value | humanize }}", 0, "0"),
        ("{{ humanize $value }}", -42, "-42"),
        ("{{ $value | humanize1024 }}", 2147483648, "2Gi"),
        ("{{ $value | humanize1024 }}", 0.5, "0.5"),
        ("{{ $value | humanizePercentage }}", 0.12345, "12.35%"),
        ("{{ $value | humanizeDuration }}", 0.0125, "12.5ms"),
        ("{{ $value | humanizeDuration }}", 0, "0s"),
        ("{{ $value | humanizeDuration }}", 5.5, "5.5s"),
        ("{{ $value | humanizeDuration }}", 61, "1m 1s"),
        ("{{ $value | humanizeDuration }}", -3700, "-1h 1m 40s"),
        ("{{ $value | humanizeDuration }}", 90061, "1d 1h 1m 1s"),
        ("{{ $value | humanizeDuration }}", math.inf, "+Inf"),
        ('{{ printf "%.2f" $value }}', 3.14159, "3.14"),
        ('{{ $value | printf "%.0f%%" }}', 55.2, "55%"),
        ('{{ printf "%s is %q" $labels.verb $labels.instance }}', 0, 'LIST is "cp-1"'),
        ('{{ printf "%5.1f|%-5s|" $value "x" }}', 2, "  2.0|x    |"),
        ('{{ printf "%d" $value }}', 2, "%!d(2)"),
        ('{{ printf "%s" }}', 0, "%!s(MISSING)"),
        ('{{ printf "a" "b" }}', 0, "a%!(EXTRA b)"),
        ("{{ with $labels.verb }}[{{ . }}]{{ end }}", 0, "[LIST]"),
        ("{{ with $labels.none }}[{{ . }}]{{ else }}none{{ end }}", 0, "none"),
        ("{{ if gt $value 10.0 }}hot{{ else }}cold{{ end }}", 11, "hot"),
        ('{{ if eq $labels.verb "GET" }}g{{ else if eq $labels.verb "LIST" }}l{{ end }}', 0, "l"),
        ("{{ if and $value (not (lt $value 5.0)) }}yes{{ end }}", 5, "yes"),
        ("{{ if $value }}x{{ end }}", 0, ""),
        ("a  {{- $value -}}  b", 1, "a1b"),
        ("a{{/* a remark */}}b", 0, "ab"),
        ('{{ "a \\"b\\"" }}{{ `c` }}', 0, 'a "b"c'),
        ('{{ $labels.verb | toLower | printf "%s!" }}', 0, "list!"),
    ],
)
def test_rendering(source: str, value: float, expected: str) -> None:
    assert Template(source).render(LABELS, float(value)) == expected


@pytest.mark.parametrize(
    "source, reason",
    [
        ('{{ query "up" | first | value }}', "query is not known"),
        ("{{ $labels.instance", "without its }}"),
        ("{{ $externalLabels.cluster }}", "cannot read"),
        ("{{ range $labels }}{{ end }}", "cannot read"),
        ("{{ end }}", "without a beginning"),
        ("{{ else }}", "without a beginning"),
        ("{{ if $value }}x", "without its {{ end }}"),
        ("{{ with $value }}x{{ else }}", "without its {{ end }}"),
        ("{{ $value | 5 }}", "after | comes a function"),
        ("{{ $value | }}", "an empty action"),
        ("{{ }}", "an empty action"),
        ("{{ humanize }}", "does not take 0 arguments"),
        ("{{ humanize $value $value }}", "does not take 2 arguments"),
        ("{{ ($value }}", "( without its )"),
        ("{{ $value $value }}", "cannot read"),
        ("{{ if 1 }}" * 30 + "{{ end }}" * 30, "nested deeper"),
        ("x" * 20_000, "longer than"),
    ],
    ids=lambda text: text[:40],
)
def test_refused(source: str, reason: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(source)
    assert reason in str(caught.value)

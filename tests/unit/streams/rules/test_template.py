"""Templates read as Prometheus writes them; what cannot work is refused when rules load."""

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.rules.template import Template, TemplateError
from streams.core.rules.texts import FUNCTIONS
from tests.templates import CASES, LABELS

Found = Sequence[tuple[Mapping[str, str], float]]
FOUND: dict[str, Found] = {
    "q": [({"i": "b", "c": "x"}, 2.0), ({"i": "a", "c": "x"}, 1.0), ({"i": "d"}, math.nan)],
    "sort(q)": [({"i": "b"}, 2.0), ({"i": "c"}, math.nan), ({"i": "a"}, 3.0)],
    "sort_desc(q)": [({"i": "b"}, 2.0), ({"i": "c"}, math.nan), ({"i": "a"}, 3.0)],
    "(topk(2, q))": [({"i": "b"}, 2.0), ({"i": "a"}, 3.0)],
    "bottomk(2, q)": [({"i": "a"}, 3.0), ({"i": "b"}, 2.0)],
    "none": [],
    'up{role="x"}': [
        ({"job": "etcd", "instance": "1", "role": "x"}, 5.0),
        ({"job": "apiserver", "instance": "2", "role": "x"}, 6.0),
    ],
}


def rendered(source: str, value: float = 5.0, **labels: str) -> str:
    return Template(source).render(LABELS | labels, value, FOUND.__getitem__)


@pytest.mark.parametrize("source, value, expected", CASES, ids=[case[0] for case in CASES])
def test_rendering(source: str, value: float, expected: str) -> None:
    assert Template(source).render(LABELS, float(value)) == expected


@pytest.mark.parametrize(
    "source, expected",
    [
        ("plain", "plain"),
        ("{{ $labels }}", "map[instance:cp-1:6443 n:12 verb:LIST]"),
        (
            "{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}",
            "instance=cp-1:6443;n=12;verb=LIST;",
        ),
        ('{{ query "q" | first | value }}', "1"),
        ('{{ with query "q" }}{{ . | first | value | humanize }}{{ end }}', "1"),
        ('{{ with query "none" }}x{{ else }}nothing{{ end }}', "nothing"),
        (
            '{{ query "none" | first | value }}',
            "<error expanding template: the query found nothing>",
        ),
        ('{{ range query "q" }}{{ .Labels.i }}={{ .Value }};{{ end }}', "a=1;b=2;d=NaN;"),
        (
            '{{ range $i, $x := query "q" }}{{ if $i }}, {{ end }}{{ $x.Labels.i }}{{ end }}',
            "a, b, d",
        ),
        ('{{ range query "sort(q)" }}{{ .Labels.i }}{{ end }}', "bac"),
        ('{{ range query "sort_desc(q)" }}{{ .Labels.i }}{{ end }}', "abc"),
        ('{{ range query "(topk(2, q))" }}{{ .Labels.i }}{{ end }}', "ab"),
        ('{{ range query "bottomk(2, q)" }}{{ .Labels.i }}{{ end }}', "ba"),
        ('{{ range query "q" | sortByLabel "c" }}{{ .Labels.i }}{{ end }}', "dab"),
        ('{{ query "q" | first | label "c" }}{{ query "q" | first | strvalue }}', "x"),
        ('{{ (index (query "q") 1).Value }} {{ len (query "q") }}', "2 3"),
        ('{{ $q := "q" }}{{ query $q | first | value }}', "1"),
        ('{{ query "q" | first }}', "{map[c:x i:a] 1}"),
        ('{{ query "q" | first | printf "%v" }}', "&{map[c:x i:a] 1}"),
        (
            '{{ range query "q" }}{{ if eq .Value 2.0 }}{{ break }}{{ end }}{{ .Value }}{{ end }}',
            "1",
        ),
        (
            '{{ range query "q" }}{{ if eq .Value 2.0 }}{{ continue }}{{ end }}{{ .Value }}{{end}}',
            "1NaN",
        ),
        (
            '{{ $s := "" }}{{ range query "q" }}{{ $s = print $s .Labels.i }}{{ end }}{{ $s }}',
            "abd",
        ),
    ],
)  # fmt: skip
def test_rendering_of_labels_and_queries(source: str, expected: str) -> None:
    assert rendered(source) == expected


@pytest.mark.parametrize("job, expected", [("etcd", "5"), ("apiserver", "6"), ("kubernetes", "6")])
@pytest.mark.parametrize(
    "source",
    [
        '{{ printf `up{job="%s",role="x"}` $labels.job | query | first | value }}',
        '{{ query (printf "up{role=\\"x\\",job=%q}" .Labels.job) | first | value }}',
    ],
)
def test_a_query_may_compare_labels_of_the_alert(source: str, job: str, expected: str) -> None:
    assert Template(source).queries == ('up{role="x"}',)
    assert rendered(source, job=job) == expected


@pytest.mark.parametrize(
    "source, expr",
    [
        ("rate(x{a=`b`,job=`%s`}[5m])", 'rate(x{a="b"}[5m])'),
        ("clamp_min(-(x{job=`%s`}), 1) > 2", "clamp_min(-(x{}), 1) > 2"),
        ("sort_desc(x{job=`%s`})", "sort_desc(x{})"),
    ],
)
def test_labels_may_stand_below_what_leaves_labels_alone(source: str, expr: str) -> None:
    template = Template(
        f'{{{{ range printf "{source}" $labels.job | query }}}}{{{{ .Value }}}} {{{{ end }}}}'
    )
    assert template.queries == (expr,)
    found = {expr: [({"job": "a", "i": "1"}, 1.0), ({"job": "b"}, 2.0), ({"job": "a"}, 3.0)]}
    order = "3 1 " if source.startswith("sort") else "1 3 "
    assert template.render({"job": "a"}, 0.0, found.__getitem__) == order


@pytest.mark.parametrize(
    "job", ['etcd",role="y', 'x"} or up{job="etcd', "no such job", 'etcd",role="x",other="1', "\\"]
)
def test_a_label_cannot_change_what_a_query_asks(job: str) -> None:
    text = rendered(
        '{{ printf `up{job="%s",role="x"}` $labels.job | query | first | value }}', job=job
    )
    assert text.startswith("<error expanding template: ")


def test_a_query_that_a_value_chooses_says_that_it_was_not_known() -> None:
    source = '{{ $q := "none" }}{{ if gt $value 1.0 }}{{ $q = "q" }}{{ end }}{{ query $q | len }}'
    assert Template(source).queries == ("q",)
    assert rendered(source, 5.0) == "3"
    assert "was not known when the rules were loaded" in rendered(source, 0.0)


@pytest.mark.parametrize(
    "source, reason",
    [
        ("{{ $labels.instance", "without its }}"),
        ('{{ "a', "cannot read"),
        ("{{ $externalURL }}", "there is no variable $externalURL"),
        ("{{ externalURL }}", "externalURL is not supported: there is no user interface"),
        ("{{ graphLink `up` }}", "graphLink is not supported"),
        ("{{ toTime $value }}", "toTime is not supported: times are shown by humanizeTimestamp"),
        ('{{ tmpl "x" . }}', "tmpl is not supported"),
        ('{{ define "x" }}{{ end }}', "define is not supported"),
        ("{{ boom }}", "boom is not known; functions are and, args,"),
        ("{{ end }}", "without a beginning"),
        ("{{ else }}", "without a beginning"),
        ("{{ if $value }}x", "without its {{ end }}"),
        ("{{ with $value }}x{{ else }}", "without its {{ end }}"),
        ("{{ range $labels }}x{{ else }}", "without its {{ end }}"),
        ("{{ if $value }}{{ if $value }}{{ end }}", "without its {{ end }}"),
        ("{{ break }}", "outside of {{ range }}"),
        ("{{ $value | 5 }}", "after | comes a function"),
        ("{{ $value | }}", "an empty action"),
        ("{{ }}", "an empty action"),
        ("{{ nil }}", "nil is no action"),
        ("{{ humanize }}", "does not take 0 arguments"),
        ("{{ humanize $value $value }}", "does not take 2 arguments"),
        ("{{ ($value }}", "( without its )"),
        ("{{ $value $value }}", "cannot read"),
        ("{{ $labels . }}", "cannot read"),
        ("{{ $x }}", "there is no variable $x"),
        ("{{ if $x := 1 }}{{ end }}{{ $x }}", "there is no variable $x"),
        ("{{ $x = 1 }}", "there is no variable $x"),
        ("{{ 99999999999999999999 }}", "more than 64 bits"),
        ('{{ "\\ud800" }}', "is no escape"),
        ("{{ if 1 }}" * 30 + "{{ end }}" * 30, "nested deeper"),
        ("{{ " + "(" * 200 + "1" + ")" * 200 + " }}", "more than 100 brackets"),
        ("{{ 1" + " | print" * 200 + " }}", "more than 100 brackets"),
        ("x" * 20_000, "longer than"),
        # wrong whatever the data are, wherever it stands
        ("{{ gt $value 10 }}", "float64 is not compared with int; write a number with a point"),
        ("{{ if gt $value 1.0 }}{{ else }}{{ toUpper $value }}{{ end }}", "toUpper takes a text"),
        ("{{ range query `none` }}{{ .Nope }}{{ end }}", "there is no .Nope in struct"),
        ("{{ $labels.verb.x }}", "there is no .x in string"),
        ("{{ query `q` }}", "the results of a query are no text"),
        ("{{ first $value }}", "first takes the results of a query, not float64"),
        ("{{ value (query `q`) }}", "value takes one result of a query, not slice"),
        ("{{ humanize true }}", "bool is no number"),
        ("{{ len 5 }}", "int has no length"),
        ("{{ lt true false }}", "bool has no order"),
        ("{{ eq $labels $labels }}", "map[string]string cannot be compared"),
        ("{{ range $value }}{{ end }}", "range cannot go over float64"),
        ('{{ match "(" $labels.verb }}', "wrong regular expression '('"),
        ('{{ printf "%[1]d" 1 }}', "printf: %[ is not supported"),
        ("{{ query `q{` | len }}", "query: 'q{': not PromQL"),
        ("{{ query $labels.q | len }}", "may only stand in the matchers of the only"),
        ("{{ printf `q > %v` $value | query | len }}", "may only be compared with ="),
        ("{{ printf `sum(q{a=\"%s\"})` $labels.a | query | len }}", "not below an aggregation"),
        ("{{ printf `absent(q{a=\"%s\"})` $labels.a | query | len }}", "may only stand in"),
        ("{{ printf `q{a=\"%s\"} + on(a) q` $labels.a | query | len }}", "may only stand in"),
        ("{{ printf `q{a=~\"%s\"}` $labels.a | query | len }}", "may only be compared with ="),
        ("{{ printf `q%s{a=\"b\"}` $labels.a | query | len }}", "may only be compared with ="),
        ("{{ printf `q{a=\"%s\"} offset 5m` $labels.a | query | len }}", "may only stand in"),
    ],
    ids=lambda text: text[:50],
)  # fmt: skip
def test_refused(source: str, reason: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(source)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "source, reason",
    [
        ("{{ humanize $labels.verb }}", "'LIST' is no number"),
        ("{{ parseDuration $labels.verb }}", "'LIST' is no duration"),
        ("{{ parseDuration $labels.missing }}", "'' is no duration"),
        ("{{ index $labels.verb 9 }}", "index out of range: 9"),
        ("{{ slice $labels.verb 2 9 }}", "slice out of range: 2:9"),
        ("{{ reReplaceAll $labels.regex `` `` }}", "wrong regular expression"),
        ("{{ humanizeTimestamp 1e300 }}", "1e+300 is beyond the dates of 64 bits"),
        ("{{ range 1000000 }}x{{ end }}", "more than 20000 steps"),
        ("{{ $x := `xxxxxxxxxx` }}{{ range 60 }}{{ $x = print $x $x }}{{ end }}", "a text of more"),
        ("{{ range 10000 }}{{ printf `%1000s` `x` }}{{ end }}", "longer than 100000 characters"),
    ],
)
def test_what_fails_on_some_data_is_said_in_the_text(source: str, reason: str) -> None:
    assert rendered(source, regex="(").startswith(f"<error expanding template: {reason}")


@pytest.mark.parametrize(
    "text, expected",
    [("baac", "xbxcx"), ("", "x"), ("aa", "x"), ("äaä", "xäxäx")],
)
def test_all_matches_are_replaced_as_go_does(text: str, expected: str) -> None:
    assert rendered('{{ reReplaceAll "a*" "x" $labels.text }}', text=text) == expected


_NAMES = ["$value", "$labels", "$labels.verb", ".", "$", ".Labels", ".Value", "$x", "|"]
_MORE = ['"%s"', '"a"', '"%5.1f"', "5", "-1.5", "(", ")", "true", "nil", '"q"', "$x :=", "$x ="]
_WORDS = st.sampled_from([*FUNCTIONS, *_NAMES, *_MORE])
_ACTION = st.builds(
    lambda block, words: "{{ " + " ".join([*block, *words]) + " }}",
    st.sampled_from([[], [], [], ["if"], ["with"], ["range"], ["else"], ["end"], ["end"]]),
    st.lists(_WORDS, max_size=4),
)


@given(
    st.lists(_ACTION | st.just("{{ end }}"), max_size=5).map("".join),
    st.sampled_from([0.0, -1.5, 1e300, math.nan, math.inf]),
    st.dictionaries(st.sampled_from(["verb", "x"]), st.text(max_size=5)),
)
def test_what_loads_renders(source: str, value: float, labels: dict[str, str]) -> None:
    try:
        template = Template(source)
    except TemplateError:
        return
    found: list[Found] = [[], [({"i": "a"}, value)]]
    for results in found:
        text = template.render(labels, value, lambda expr, results=results: results)  # type: ignore[misc]
        text.encode()

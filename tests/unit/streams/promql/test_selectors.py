"""Matchers: regular expressions, numbers, aliases."""

import pytest

from streams.core.promql.selectors import Folded, Matcher, Op, Selector


@pytest.mark.parametrize(
    "matcher, text, hit",
    [
        (Matcher("a", Op.MATCH, "b.*"), "bcd", True),
        (Matcher("a", Op.MATCH, "b"), "bcd", False),  # anchored
        (Matcher("a", Op.MATCH, "b.c"), "b\nc", True),  # a dot matches everything
        (Matcher("a", Op.MATCH, "x|"), "", True),
        (Matcher("a", Op.MATCH, "(?i)GET"), "get", True),
        (Matcher("a", Op.NOT_MATCH, "b|c"), "d", True),
        (Matcher("a", Op.NOT_EQUAL, ""), "", False),
        (Matcher("le", Op.EQUAL, "1"), "1.0", True),
        (Matcher("le", Op.EQUAL, "1e0"), "1", True),
        (Matcher("le", Op.NOT_EQUAL, "1"), "1.0", False),
        (Matcher("le", Op.MATCH, "30.0"), "30", True),
        (Matcher("le", Op.NOT_MATCH, "30|60"), "30.0", False),
        (Matcher("le", Op.EQUAL, "+Inf"), "Inf", True),
        (Matcher("job", Op.EQUAL, "kube-apiserver"), "apiserver", True),
        (Matcher("job", Op.MATCH, "kube-.*"), "apiserver", True),
        (Matcher("job", Op.NOT_EQUAL, "kube-apiserver"), "apiserver", False),
        (Matcher("job", Op.EQUAL, "kube-apiserver"), "etcd", False),
    ],
    ids=str,
)
def test_matcher(matcher: Matcher, text: str, hit: bool) -> None:
    assert matcher.test()(text) is hit


@pytest.mark.parametrize(
    "name, folded",
    [
        ("x_bucket", ("x", Folded.BUCKET)),
        ("x_count", ("x", Folded.COUNT)),
        ("x_sum", ("x", Folded.SUM)),
        ("x", None),
        ("_sum", None),
    ],
)
def test_a_name_can_be_a_view(name: str, folded: tuple[str, Folded] | None) -> None:
    assert Selector(name, ()).folded == folded

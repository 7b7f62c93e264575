"""label_replace and label_join, and Go's expansion of a regular expression's groups."""

import pytest

from streams.core.promql.patterns import rewriter
from tests.evaluation import World

SERIES = 'x{src="value-10",dst="one"} 0\nx{src="value-20",dst="two"} 1\n'


def labels(expression: str, name: str) -> list[str]:
    """Return a label of each result, in the order of the series."""
    world = World([expression])
    world.scrape(SERIES, 0)
    return [dict(result.labels).get(name, "") for result in world.live(0)]


@pytest.mark.parametrize(
    "expression, name, expected",
    [
        ('label_replace(x, "dst", "to-$1", "src", "value-(.*)")', "dst", ["to-10", "to-20"]),
        ('label_replace(x, "dst", "to-$1", "src", "alue-(.*)")', "dst", ["one", "two"]),
        ('label_replace(x, "dst", "", "src", "value-10")', "dst", ["", "two"]),
        ('label_replace(x, "new", "n$0", "missing", "")', "new", ["n", "n"]),
        ('label_replace(x, "new", "n", "missing", ".+")', "new", ["", ""]),
        ('label_replace(x, "new", "n", "", ".*")', "new", ["n", "n"]),
        ('label_replace(x, "__name__", "y", "src", ".*")', "__name__", ["y", "y"]),
        ('label_replace(x, "__name__", "", "src", ".*")', "__name__", ["", ""]),
        ('label_replace(x, "new", "$1", "__name__", "(.*)")', "new", ["x", "x"]),
        ('label_replace(x + 0, "new", "$1", "__name__", "(.+)")', "new", ["", ""]),
        ('label_replace(x, "new", "a\\nb", "src", ".*")', "new", ["a\nb", "a\nb"]),
        ('label_replace(x, "a-b", "n", "src", ".*")', "a-b", ["n", "n"]),
        ('label_replace((x), ("new"), ("n"), ("src"), (".*"))', "new", ["n", "n"]),
        ('label_join(x, "new", "-", "src", "dst")', "new", ["value-10-one", "value-20-two"]),
        ('label_join(x, "new", "-", "src", "missing")', "new", ["value-10-", "value-20-"]),
        ('label_join(x, "src", "-")', "src", ["", ""]),
        ('label_join(x, "src", "-", "missing")', "src", ["", ""]),
        ('label_join(x, "src", "-", "missing", "none")', "src", ["-", "-"]),
        ('label_join(x, "src", "+", "dst", "src")', "src", ["one+value-10", "two+value-20"]),
        ('label_join(x, "__name__", "-", "dst")', "__name__", ["one", "two"]),
    ],
)
def test_labels(expression: str, name: str, expected: list[str]) -> None:
    assert labels(expression, name) == expected


@pytest.mark.parametrize(
    "replacement, expected",
    [
        ("$1", "10"),
        ("${1}x", "10x"),
        ("$1x", ""),  # the group "1x"
        ("$1$2$", "10$"),
        ("$$1", "$1"),
        ("$name", "10"),
        ("${name}-${none}-$9-$", "10---$"),
        ("$(name)", "$(name)"),
        ("${1", "${1"),
        ("${}", "${}"),
        ("$01", ""),
        ("$0", "value-10"),
        ("${a b}", "${a b}"),
        ("\\1", "\\1"),
    ],
)
def test_references_are_expanded_as_go_does(replacement: str, expected: str) -> None:
    assert rewriter("value-(?P<name>.*)", replacement)("value-10") == expected


def test_a_group_that_took_no_part_is_empty() -> None:
    assert rewriter("(a)|b", "<$1>")("b") == "<>"


def test_a_wrong_pattern_is_told_once_and_as_it_was_written(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError, match=r"^wrong regular expression '\(': missing \): "):
        rewriter("(", "")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "expression",
    ['label_replace(x, "src", "", "dst", ".*")', 'label_join(x, "src", "", "missing")'],
)
def test_two_series_that_become_one_fail_alone(expression: str) -> None:
    world = World([expression, "sum(x)"])
    world.scrape('x{src="value-10"} 0\nx{src="value-20"} 1\n', 0)
    found = world.group(0)
    ((rule, reason),) = found.failures
    assert (rule, found.rows.num_rows) == ("r:0:x", 1)
    assert reason.endswith("two results have the same labels")


def test_labels_of_series_that_are_not_there_do_not_matter() -> None:
    world = World(['label_replace(x > 0, "src", "", "dst", ".*")'])
    world.scrape('x{src="value-10"} 0\nx{src="value-20"} 1\n', 0)
    assert [result.value for result in world.live(0)] == [1.0]

"""The verbs of `planewatch rules`, through the command itself.

The rule this file owns: everything that can be wrong with a rule is told with file, the line of its
`expr` and the expression, ends with 1, and keeps nobody from hearing of another file.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

PLANEWATCH = Path(sys.executable).parent / "planewatch"
TIMEOUT_S = 120
DEEP = 10_000

GOOD = "groups:\n  - name: good\n    rules:\n      - record: good:of:x\n        expr: sum(x)\n"


def rules(*exprs: str, name: str = "g") -> str:
    """Return a file whose n-th rule has its `expr` at line 5 + 2n."""
    records = "".join(
        f"      - record: {name}:{n}:x\n        expr: {expr}\n" for n, expr in enumerate(exprs)
    )
    return f"groups:\n  - name: {name}\n    rules:\n{records}"


def big(size: int) -> str:
    one = "      - record: a:b:c\n        expr: sum by (x) (rate(some_metric_total[5m]))\n"
    return rules() + one * (size // len(one))


WRONG: Mapping[str, tuple[str, Sequence[str]]] = {
    "function": (
        rules("x", "nobody_knows(x)"),
        [":7: ", "unknown function with name 'nobody_knows'", "expr: nobody_knows(x)"],
    ),
    "type": (
        rules("rate(x)", "sum(5)", "x and 5"),
        [
            *(":5: ", "expected type matrix in call to function 'rate', got vector"),
            *(":7: ", "expected type vector in aggregation expression, got scalar"),
            *(":9: ", "set operator 'and' not allowed", "expr: x and 5"),
        ],
    ),
    "duration": (
        rules("rate(x[5 minutes])") + "      - alert: A\n        expr: x\n        for: soon\n",
        [":5: ", "inside brackets", "expr: rate(x[5 minutes])", ":8: for: 'soon' is no duration"],
    ),
    "duplicate-rules": (
        rules("x") + "      - record: g:0:x\n        expr: y\n",
        [":7: the record g:0:x is there twice", "the first is at line 5", "expr: y"],
    ),
    "duplicate-groups": (
        "groups:\n  - {name: g, rules: []}\n  - {name: g, rules: []}\n",
        [":3: the group g is there twice"],
    ),
    "cycle": (
        rules("cyclic:1:x", "cyclic:2:x", "cyclic:0:x + 1", name="cyclic"),
        [
            *(":5: ", ":7: ", ":9: ", "expr: cyclic:0:x + 1"),
            "depends on itself: cyclic:0:x -> cyclic:1:x -> cyclic:2:x -> cyclic:0:x",
        ],
    ),
    "big": (big(10_000_000), ["longer than 5000000 characters"]),
    "bomb": (
        rules(
            'x{a=~"(a{1000}){1000}"}',
            'label_replace(x, "a", "$1", "b", "((a{100}){100}){100}")',
            'sum(x{a!~"(x+x+)+y", b=~"[a"})',
        ),
        [
            *(":5: ", "(a{1000}){1000}", 'expr: x{a=~"(a{1000}){1000}"}'),
            *(":7: ", "((a{100}){100}){100}", "wrong regular expression"),
            *(":9: ", "[a"),
        ],
    ),
    "deep-brackets": (rules("(" * DEEP + "x" + ")" * DEEP), [":5: longer than 20000", "(((("]),
    "deep-signs": (rules("-" * DEEP + "x"), [":5: more than 500 operators", "----"]),
    "deep-calls": (rules("abs(" * DEEP + "x" + ")" * DEEP), [":5: longer than", "abs(abs("]),
    "deep-yaml": ("groups: " + "[" * DEEP + "]" * DEEP, [": not YAML: nested too deep"]),
    "yaml": ("groups: [\n", [":2: not YAML"]),
    "field": (rules("x").replace("record: ", "recrod: "), [":4: unknown field recrod"]),
}


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PLANEWATCH, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """All wrong files, one that is good, and one that is not there, in one command."""
    folder = tmp_path_factory.mktemp("wrong")
    for name, (text, _) in WRONG.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "good.yaml").write_text(GOOD)
    return run("rules", "check", *sorted(folder.glob("*.yaml")), folder / "nowhere.yaml")


def of_file(output: str, name: str) -> str:
    """Return what is told of one file: its problems, and the expressions below them."""
    found: list[str] = []
    mine = False
    for line in output.splitlines():
        if not line.startswith(" "):
            mine = f"/{name}.yaml" in line.split(": ")[0]
        if mine:
            found.append(line)
    return "\n".join(found)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_file_line_and_expression(
    checked: subprocess.CompletedProcess[str], name: str
) -> None:
    told = of_file(checked.stderr, name)
    for text in WRONG[name][1]:
        assert text in told, told[:2000]
    assert len(told) < 5_000


def test_wrong_files_hide_neither_each_other_nor_good_ones(
    checked: subprocess.CompletedProcess[str],
) -> None:
    assert checked.returncode == 1
    assert f"{len(WRONG) + 1} of {len(WRONG) + 2} files are wrong" in checked.stderr
    assert "cannot read" in of_file(checked.stderr, "nowhere")
    assert not of_file(checked.stderr, "good")
    assert "good:of:x" in checked.stdout


def test_good_files_show_what_they_cost_and_read(tmp_path: Path) -> None:
    text = rules("sum(rate(apiserver_request_total[5m]))", "sum(up) / sum(nobody_knows_this)")
    (tmp_path / "good.yaml").write_text(text)
    done = run("rules", "check", tmp_path)
    assert done.returncode == 0, done.stderr
    first, second, *_, last = done.stdout.splitlines()
    assert first.startswith("g:0:x\t")
    assert first.endswith("1 selectors\t1 accumulators, 0 windows, 300 s\t-")
    assert second.endswith("2 selectors\tnothing\tnobody_knows_this")
    assert last == "1 files, 1 groups, 2 rules: good"


def test_a_worker_refuses_to_start_with_wrong_files(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(rules("sum("))
    settings = {"rules": {"paths": [str(wrong)]}, "kafka": {"bootstrap": "127.0.0.1:1"}}
    (tmp_path / "planewatch.yaml").write_text(yaml.safe_dump(settings))
    done = run("streams", "--data", tmp_path / "data", cwd=tmp_path)
    assert done.returncode == 2
    assert f"{wrong}:5: not PromQL" in done.stderr


TEST = """
rule_files: ["rules/*.yaml"]
tests:
  - name: a sum
    input_series: [{series: 'x{a="b"}', values: 1+1x9}]
    promql_expr_test:
      - {expr: "good:of:x", eval_time: 3m, exp_samples: [{labels: "good:of:x", value: VALUE}]}
"""


def test_rule_tests_succeed_or_tell_why_they_fail(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "good.yaml").write_text(GOOD)
    for name, value in (("good", "4"), ("wrong", "5")):
        (tmp_path / f"{name}.yaml").write_text(TEST.replace("VALUE", value))
    good = run("rules", "test", tmp_path / "good.yaml")
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout == f"Unit Testing:  {tmp_path}/good.yaml\n  SUCCESS\n\n"
    both = run("rules", "test", "wrong.yaml", "nowhere.yaml", "good.yaml", cwd=tmp_path)
    assert both.returncode == 1
    assert both.stdout.count("SUCCESS") == 1
    for text in ("FAILED", "name: a sum", 'expr: "good:of:x", time: 3m', "5.0", "4.0"):
        assert text in both.stderr
    assert "cannot read nowhere.yaml" in both.stderr


def test_imported_objects_are_rule_files(tmp_path: Path) -> None:
    groups = [{"name": "g", "rules": [{"record": "a:b:c", "expr": "sum(x)"}]}]
    data = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "mine", "namespace": "monitoring"},
        "spec": {"groups": groups},
    }
    (tmp_path / "object.yaml").write_text(yaml.safe_dump(data))
    good = run("rules", "import", "object.yaml", "--out", "out", cwd=tmp_path)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.endswith("1 rules imported, 0 refused\n")
    assert run("rules", "check", tmp_path / "out" / "monitoring-mine.yaml").returncode == 0
    groups[0]["rules"] = [{"record": "a:b:c", "expr": "x @ 100"}]
    (tmp_path / "object.yaml").write_text(yaml.safe_dump(data))
    refused = run("rules", "import", "object.yaml", "nowhere", "--out", "other", cwd=tmp_path)
    assert refused.returncode == 1
    assert "object.yaml:10: refused: group g, a:b:c: @ with a time" in refused.stderr
    assert "cannot read nowhere" in refused.stderr
    assert not list((tmp_path / "other").iterdir())


@pytest.mark.parametrize(
    "arguments",
    [("check",), ("test",), ("test", "x", "--rate-semantics", "y"), ("import", "x"), ("nothing",)],
)
def test_wrong_usage_ends_with_2(arguments: Sequence[str]) -> None:
    done = run("rules", *arguments)
    assert done.returncode == 2
    assert "Usage: " in done.stderr

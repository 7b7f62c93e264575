"""Guards the shape of the tree: imports flow one way, core is pure, functions fit a screen."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = {"producers", "streams", "sinks"}
MAY_IMPORT = {
    "planewatch": {"schemas"},
    "schemas": set[str](),
    **{stage: {"schemas"} for stage in STAGES},
}
OURS = STAGES | {"schemas", "planewatch"}
EDGE_OF_SCHEMAS = {"clock.py", "command.py", "config.py", "run.py", "telemetry.py"}
IO = {
    "aiohttp",
    "aiokafka",
    "asyncio",
    "chdb",
    "clickhouse_connect",
    "confluent_kafka",
    "faust",
    "http",
    "kubernetes",
    "logging",
    "mmap",
    "os",
    "random",
    "requests",
    "secrets",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "urllib3",
}
CLOCKS = {"datetime.now", "datetime.utcnow", "date.today", "datetime.datetime.now"}
FORBIDDEN = {"kubernetes.watch", "kubernetes.leaderelection", "kubernetes.client.informer"}
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500


def modules() -> Iterator[tuple[str, Path, ast.Module]]:
    """Every module of ours: its package, its path, its tree."""
    paths = [ROOT / "planewatch.py"]
    paths += [path for package in sorted(OURS) for path in (ROOT / package).rglob("*.py")]
    for path in sorted(paths):
        relative = path.relative_to(ROOT)
        yield relative.parts[0].removesuffix(".py"), relative, ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every imported module, also those imported within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def is_pure(path: Path) -> bool:
    """Tell whether a module may only take values and return values."""
    if path.parts[0] == "schemas":
        return path.name not in EDGE_OF_SCHEMAS
    return "core" in path.parts[:-1]


def test_imports_flow_from_schemas_to_stages_only() -> None:
    wrong = {
        f"{path}:{line} imports {name}"
        for package, path, tree in modules()
        for name, line in imports(tree)
        if (top := name.split(".")[0]) in OURS - {package} and top not in MAY_IMPORT[package]
    }
    assert set() == wrong


def test_core_and_schemas_do_no_io_and_read_no_clock() -> None:
    wrong = set()
    for _, path, tree in modules():
        if is_pure(path):
            wrong |= {
                f"{path}:{at} imports {n}" for n, at in imports(tree) if n.split(".")[0] in IO
            }
            wrong |= {
                f"{path}:{node.lineno} calls {ast.unparse(node.func)}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Call) and ast.unparse(node.func) in CLOCKS | {"open"}
            }
    assert set() == wrong


def test_the_clients_informers_are_never_used() -> None:
    """They ask again without back-off: thousands of requests a second on errors (DESIGN 9)."""
    wrong = {
        f"{path}:{line} imports {name}"
        for _, path, tree in modules()
        for name, line in imports(tree)
        if any(name.startswith(forbidden) for forbidden in FORBIDDEN)
    }
    assert set() == wrong


def test_the_environment_is_read_in_one_place() -> None:
    """Settings come from schemas/config.py; only test faults are read elsewhere."""
    wrong = {
        f"{path}:{node.lineno}"
        for _, path, tree in modules()
        if path.name not in {"config.py"}
        for node in ast.walk(tree)
        if isinstance(node, ast.Call | ast.Subscript)
        and ast.unparse(node).startswith(("os.environ", "os.getenv"))
        and "PLANEWATCH_TEST_" not in ast.unparse(node)
    }
    assert set() == wrong


def test_functions_fit_a_screen_and_modules_an_idea() -> None:
    wrong = []
    for _, path, tree in modules():
        if (lines := len((ROOT / path).read_text().splitlines())) > MODULE_LINES_MAX:
            wrong.append(f"{path}: {lines} lines")
        wrong += [
            f"{path}:{node.lineno} {node.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES_MAX
        ]
    assert [] == wrong


def test_every_module_head_says_what_it_owns() -> None:
    wrong = [
        str(path)
        for _, path, tree in modules()
        if path.name not in {"__init__.py"} and not (ast.get_docstring(tree) or "")
    ]
    assert [] == wrong


@pytest.mark.parametrize("package", sorted(OURS - {"planewatch"}))
def test_our_top_level_names_belong_to_us_alone(package: str) -> None:
    """Another distribution with a `schemas` would silently overwrite ours (style, 4.4)."""
    from importlib.metadata import packages_distributions  # noqa: PLC0415 slow; this test only

    assert {"planewatch"} == set(packages_distributions().get(package, ["planewatch"]))

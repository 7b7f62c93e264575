"""What we expect of templates is what Prometheus makes of them."""

import json
import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.templates import CASES, LABELS


def story(folder: Path) -> Path:
    """Write rules whose annotations are the templates, and what they must become."""
    rules, series, checks = [], [], []
    for i, (source, value, expected) in enumerate(CASES):
        labels = ",".join(f"{name}={json.dumps(text)}" for name, text in LABELS.items())
        series.append({"series": f"v{i}{{{labels}}}", "values": _notation(float(value))})
        # without its name, which tells the series of the cases apart
        expr = f'label_replace(v{i}, "__name__", "", "", "")'
        rules.append({"alert": f"A{i}", "expr": expr, "annotations": {"t": source}})
        alert = {"exp_labels": LABELS, "exp_annotations": {"t": expected}}
        checks.append({"eval_time": "0m", "alertname": f"A{i}", "exp_alerts": [alert]})
    _write(folder / "rules.yaml", {"groups": [{"name": "g", "rules": rules}]})
    test = {"interval": "1m", "input_series": series, "alert_rule_test": checks}
    return _write(folder / "story.yaml", {"rule_files": ["rules.yaml"], "tests": [test]})


def _notation(value: float) -> str:
    return repr(value) if math.isfinite(value) else str(value).capitalize().replace("Nan", "NaN")


def _write(file: Path, content: Any) -> Path:
    file.write_text(yaml.safe_dump(content, width=1_000_000))
    return file


def test_promtool_agrees(promtool: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [promtool, "test", "rules", story(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, "\n".join(_differences(done.stdout + done.stderr))


def _differences(printed: str) -> Iterator[str]:
    for part in printed.split("alertname: A")[1:]:
        case = CASES[int(part.split(",")[0])]
        yield f"{case[0]!r} of {case[1]}: we expect {case[2]!r}, promtool says\n{part}"

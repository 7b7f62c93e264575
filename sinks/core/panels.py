"""Read the pages of the console. In: `sinks/panels/*.yaml`, the named queries. Out: one frozen Page
per file.

The rule this file owns: a panel is data: a question, the named query that answers it, a unit, a
form, and from which value on it is amber or red and what to do then. Console and Grafana draw the
same panels. A page that names what does not exist is not loaded at all.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import msgspec
import yaml

from schemas.errors import SinkRefused
from sinks.core.queries import Query, Value, load_queries

CLUSTER = "cluster"
"""The parameter that the reader's choice of cluster fills in every panel."""


class Form(StrEnum):
    """How a panel is drawn, and which columns its query must answer."""

    LINES = "lines"  # time, curve, value
    STACKED = "stacked"  # time, curve, value
    VALUE = "value"  # time, value, curve: one row, the newest
    TIMELINE = "timeline"  # lane, state, begin, end
    TABLE = "table"  # time first, then any; `level` and `state` are coloured


class Unit(StrEnum):
    """What the numbers of a panel are; the console formats by it."""

    SECONDS = "seconds"
    BYTES = "bytes"
    RATIO = "ratio"  # 0 to 1, shown in percent
    REQUESTS_PER_SECOND = "requests/s"
    PROPOSALS_PER_SECOND = "proposals/s"
    CORES = "cores"
    REQUESTS = "requests"
    MEMBERS = "members"
    YES_NO = "yes/no"  # 1 and 0
    STATE = "state"  # of timelines
    LINES = "lines"  # of logs


class Level(StrEnum):
    """How bad it is beyond a threshold."""

    WARNING = "warning"
    CRITICAL = "critical"


class Threshold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From where on a value is bad: above or below, not both."""

    level: Level
    above: float | None = None
    below: float | None = None


class Panel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question and how its answer is drawn."""

    id: str
    section: str
    title: str  # the question
    what: str = ""  # exactly what is shown, in a few words
    unit: Unit
    form: Form
    query: str
    parameters: dict[str, Value] = {}
    thresholds: tuple[Threshold, ...] = ()
    bad_states: tuple[str, ...] = ()  # of timelines: whatever else is good
    when_red: str = ""  # what to do then
    when_empty: str = ""  # what is missing if the answer has no rows
    wide: bool = False


class Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file: panels in the order in which they are read."""

    page: str
    title: str
    panels: tuple[Panel, ...]


@cache
def load_pages() -> Mapping[str, Page]:
    """Return the shipped pages by name, in the order of their files."""
    found = sorted(
        (one for one in files("sinks").joinpath("panels").iterdir() if one.name.endswith(".yaml")),
        key=lambda one: one.name,
    )
    pages = [parse_page(one.name, one.read_text(encoding="utf-8"), load_queries()) for one in found]
    return MappingProxyType({page.page: page for page in pages})


def parse_page(file: str, text: str, queries: Mapping[str, Query]) -> Page:
    """Return the page of a file; `file` must be its name with .yaml.

    Raises:
        ValueError: something in it cannot be drawn; every problem is told.
    """
    try:
        page = msgspec.convert(yaml.safe_load(text), Page)
    except (msgspec.ValidationError, yaml.YAMLError) as error:
        raise ValueError(f"{file}: {error}") from error
    if problems := list(_problems(file, page, queries)):
        raise ValueError("\n".join(f"{file}: {problem}" for problem in problems))
    return page


def _problems(file: str, page: Page, queries: Mapping[str, Query]) -> Iterator[str]:
    if f"{page.page}.yaml" != file:
        yield f"page {page.page} must be in {page.page}.yaml"
    for name, times in Counter(panel.id for panel in page.panels).items():
        if times > 1:
            yield f"{name}: the id is given {times} times"
    for panel in page.panels:
        yield from (f"{panel.id}: {problem}" for problem in _panel_problems(panel, queries))


def _panel_problems(panel: Panel, queries: Mapping[str, Query]) -> Iterator[str]:
    if not panel.title.endswith("?"):
        yield "the title must be a question"
    if any((one.above is None) == (one.below is None) for one in panel.thresholds):
        yield "a threshold is either above or below"
    if (panel.thresholds or panel.bad_states) and not panel.when_red:
        yield "what can be red must say in when_red what to do"
    if (query := queries.get(panel.query)) is None:
        yield f"there is no query {panel.query}"
        return
    try:
        query.bind({**panel.parameters, CLUSTER: ""})
    except SinkRefused as error:
        yield str(error)

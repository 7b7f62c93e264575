"""A step of facts is a scrape whose rows say what the samples say, whatever came before."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.series import CORE_LABELS, layout_id, parse_labels, series_id
from streams.core.samples import FactSample, facts_scrape

NAMES = st.sampled_from(["planewatch_nodes", "planewatch_leases"])
LABELS = st.dictionaries(
    st.sampled_from(["verb", "zone", "ready"]), st.sampled_from(["", "a", "b"])
)
SAMPLES = st.lists(st.builds(FactSample, NAMES, LABELS, st.floats(allow_nan=False)), max_size=4)


@given(st.lists(SAMPLES, max_size=5))
def test_rows_are_the_samples(steps: list[list[FactSample]]) -> None:
    for t_ms, samples in enumerate(steps):
        scrape = facts_scrape("c", t_ms, 5_000, samples)
        rows = scrape.rows.to_pylist()
        assert [(one.metric, one.value) for one in samples] == [
            (row["metric"], row["value"]) for row in rows
        ]
        assert [{name: text for name, text in one.labels.items() if text} for one in samples] == [
            {name: row[name] for name in CORE_LABELS if row[name]} | parse_labels(row["labels"])
            for row in rows
        ]
        ids = [series_id(one.metric, one.labels) for one in samples]
        assert ids == [row["series"] for row in rows]
        assert layout_id(ids) == scrape.layout == scrape.envelope.layout


def test_an_empty_step_is_a_scrape_without_rows() -> None:
    scrape = facts_scrape("c", 15_000, 5_000, [])
    assert (0, 0, 15_000) == (len(scrape.rows), scrape.envelope.series, scrape.envelope.tick_ms)

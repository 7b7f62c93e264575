"""A rehearsal takes the place of the clusters, and of what was said about them."""

from planewatch import rehearsed
from schemas.settings import Settings

TREE = {
    "clusters": [{"id": "prod", "labels": {"environment": "prod"}}],
    "rules": {
        "overrides": [
            {"rule": "A", "for": "1m"},
            {"rule": "B", "enabled": False, "cluster_labels": {"environment": "prod"}},
            {"rule": "C", "threshold": 5, "clusters": ["prod"]},
        ]
    },
}


def test_overrides_by_label_stay_behind() -> None:
    dumped = Settings.model_validate(TREE).model_dump(mode="json")
    facts = {"clusters": [{"id": "rehearsal"}], "clock_file": "/clock"}

    made = Settings.model_validate(dumped | rehearsed(dumped, facts))

    assert ["rehearsal"] == [one.id for one in made.clusters]
    assert [("A", ("for",)), ("C", ("threshold",))] == [
        (one.rule, one.changes) for one in made.rules.overrides
    ]
    assert "/clock" == str(made.clock.file)
    assert Settings.model_validate(dumped) == Settings.model_validate(TREE)

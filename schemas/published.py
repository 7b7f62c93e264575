"""Publish the JSON records for subscribers in any language. Out: JSON Schema 2020-12, one text per
topic.

The rule this file owns: `schemas/published/*.schema.json` equals what the structs say; a test
compares, and rewrites them with UPDATE_GOLDEN=1.
"""

import json
from typing import Final

import msgspec

from schemas.records import Alert, Change, LogBatch, Record
from schemas.topics import TopicName, registry

PUBLISHED: Final[dict[TopicName, type[Record]]] = {
    TopicName.ALERTS: Alert,
    TopicName.CHANGES: Change,
    TopicName.LOGS: LogBatch,
}


def file_name(topic: TopicName) -> str:
    """Return the name of a topic's schema: alerts.v1.schema.json."""
    return f"{topic}.v{registry()[topic].version}.schema.json"


def schema_text(topic: TopicName) -> str:
    """Return the JSON Schema of a topic's value, sorted and indented."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"planewatch.{topic}.v{registry()[topic].version}",
        "description": registry()[topic].description,
        **msgspec.json.schema(PUBLISHED[topic]),
    }
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"

"""The command of the sinks: `python -m sinks VERB`. In: arguments. Out: an exit code.

The rule this file owns: the names of the verbs.
"""

from schemas.command import Verbs, run_verb

CLI = Verbs(
    {
        "run": "sinks.run:run_command",
        "migrate": "sinks.migrate:migrate_command",
        "query": "sinks.query:query_command",
        "verify": "sinks.verify:verify_command",
    },
    help="""Kafka -> ClickHouse -> people: store rows, serve the console, answer queries.

    Example: python -m sinks run --config planewatch.yaml
    """,
)

if __name__ == "__main__":
    run_verb("sinks", CLI)

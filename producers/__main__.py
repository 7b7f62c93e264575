"""The command of the producers: `python -m producers VERB`. In: arguments. Out: an exit code.

The rule this file owns: the names of the verbs.
"""

from schemas.command import Verbs, run_verb

CLI = Verbs(
    {
        "run": "producers.run:run_command",
        "topics": "producers.topics_command:topics_command",
        "targets": "producers.targets_command:targets_command",
        "broker": "producers.broker:broker_command",
        "rehearse": "producers.rehearsal.server:rehearse_command",
    },
    help="""Kubernetes -> Kafka: scrape, watch, tail; and what the embedded broker and rehearsals
    need.

    Example: python -m producers run --config planewatch.yaml
    """,
)

if __name__ == "__main__":
    run_verb("producers", CLI)

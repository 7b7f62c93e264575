"""The errors that planewatch raises on purpose. Each class says who must act; each instance carries
coordinates.

PlanewatchError
├── ConfigError     the operator: the configuration is wrong; lists every problem
├── RuleError       the author of a rule: file, line, expression
├── DecodeError     the sender: a record that cannot be read; topic, partition, offset
├── SourceError     nobody at once: a target or API server did not answer; tried again
├── BrokerError     the operator: Kafka cannot do what the configuration asks for
├── SinkRetry       nobody at once: ClickHouse is away or slow; tried again
└── SinkRefused     the operator: ClickHouse refuses what we send; trying again cannot help
"""

from dataclasses import dataclass


class PlanewatchError(Exception):
    """Base of all errors that planewatch raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration: where (`clusters.0.id`), whence, and what to do."""

    path: str
    message: str
    origin: str = ""

    def __str__(self) -> str:
        where = f" ({self.origin})" if self.origin else ""
        return f"{self.path or 'configuration'}: {self.message}{where}"


class ConfigError(PlanewatchError):
    """The configuration is wrong. The operator must mend every problem in `problems`."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class RuleError(PlanewatchError):
    """A rule file cannot be used. Its author must mend `file` at `line`."""

    def __init__(self, message: str, *, file: str, line: int = 0, expr: str = "") -> None:
        self.message, self.file, self.line, self.expr = message, file, line, expr
        where = f"{file}:{line}" if line else file
        super().__init__(f"{where}: {message}" + (f"\n    expr: {expr}" if expr else ""))


class DecodeError(PlanewatchError):
    """A record cannot be read. It becomes a dead letter; its sender must be mended."""


class SourceError(PlanewatchError):
    """A target or an API server did not answer as asked; tried again after `retry_after_s`."""

    def __init__(self, message: str, *, target: str, retry_after_s: float = 0.0) -> None:
        self.target, self.retry_after_s = target, retry_after_s
        super().__init__(f"{target}: {message}")


class BrokerError(PlanewatchError):
    """Kafka cannot do what the configuration asks for. The operator must mend one of the two."""


class SinkRetry(PlanewatchError):
    """ClickHouse did not confirm an insert; the same bytes are sent again after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class SinkRefused(PlanewatchError):
    """ClickHouse refuses a statement for good. The operator must act; the message says how."""

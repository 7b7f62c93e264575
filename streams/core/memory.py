"""Save what a replay cannot rebuild. In: the evaluator of a cluster. Out: values for the table.

The rule this file owns: the memory of targets is saved often enough that a replay always begins
before its end; that of recorded names with each rewind point, since a replay evaluates little. What
was forgotten here is deleted there.
"""

from collections.abc import Mapping

from streams.core import state
from streams.core.evaluate import Evaluator
from streams.core.outputs import Outputs
from streams.core.promql.past import Past


class Memory:
    """The long memory of one cluster, as it is in the table."""

    def __init__(self, evaluator: Evaluator, pasts: Mapping[str, Past] | None = None) -> None:
        self._evaluator = evaluator
        self._names = set(pasts or ())
        self._saved_ms = 0
        targets = {name: past for name, past in (pasts or {}).items() if name != state.RECORDED}
        evaluator.restore(targets, (pasts or {}).get(state.RECORDED))

    def save(self, now_ms: int, out: Outputs) -> None:
        """Save what is due at a rewind point."""
        if recorded := self._evaluator.recorded_past():
            out.write(state.past_kind(state.RECORDED), recorded)
        if now_ms - self._saved_ms < state.PAST_MS:
            return
        if self._saved_ms:
            self._evaluator.forget_unseen()
        self._saved_ms = now_ms
        pasts = self._evaluator.past()
        for name, past in pasts.items():
            out.write(state.past_kind(name), past)
        for name in self._names - pasts.keys() - {state.RECORDED}:
            out.writes[state.past_kind(name)] = None
        self._names = set(pasts)

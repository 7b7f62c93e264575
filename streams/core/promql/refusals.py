"""Say what cannot be planned. In: nothing. Out: the error of it.

The rule this file owns: what a stream cannot evaluate is refused when rules are loaded.
"""


class PlanError(ValueError):
    """An expression cannot be evaluated here; the message says why and what to do."""

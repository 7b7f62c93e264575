"""Templates."""


class Template:
    """A compiled template."""

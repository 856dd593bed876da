"""The word for a strategy that was applied and did nothing."""


class NoEffect(RuntimeError):
    """A strategy was applied and changed nothing: a row of it would be noise under its name."""

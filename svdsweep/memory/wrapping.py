"""Wraps a module's forward in a context manager and marks it, so that its check finds it."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


def inside(
    context: Callable[[], AbstractContextManager[Any]], forward: Callable[..., Any], **marks: Any
) -> Callable[..., Any]:
    """Wrap `forward`, so that each call runs inside a new `context()`; `marks` become attributes of the wrapper, by
    which a check recognises it."""

    @functools.wraps(forward)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with context():
            return forward(*args, **kwargs)

    vars(wrapped).update(marks)
    return wrapped

"""A forward that runs inside a context, and tells so."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


def inside(
    context: Callable[[], AbstractContextManager[Any]], forward: Callable[..., Any], **marks: Any
) -> Callable[..., Any]:
    """`forward` inside a new `context()` at each call; `marks` become attributes, by which a check knows it again."""

    @functools.wraps(forward)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with context():
            return forward(*args, **kwargs)

    vars(wrapped).update(marks)
    return wrapped

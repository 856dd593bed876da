"""The version of svdsweep, kept here once, and those of the packages that are installed beside it."""

from functools import cache

__version__ = "0.2.0"


@cache
def version_of(package: str) -> str | None:
    """The version of an installed package; None when it is not installed."""
    import importlib.metadata  # a fifteenth of the start of a worker, and of what only refuses

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

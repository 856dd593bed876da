"""The version of svdsweep, kept here once: the package, its metadata and each sweep's manifest take it from here."""

__version__ = "0.2.0"

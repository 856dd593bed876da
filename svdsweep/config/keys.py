"""Which settings are the same: a canonical form of nested dataclasses, its hash, and the way back from plain data."""

import dataclasses
import hashlib
import json
from functools import cache
from typing import Any

from svdsweep.config.rules import rule_of

CANONICAL_FORM = "_canonical_form"
CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(part: Any) -> dict[str, Any]:
    """What distinguishes a dataclass from its defaults: a nested dict, without labels."""
    kind: Any = type(part)
    plain = {}
    for name, default in _distinguishing(kind):
        value = getattr(part, name)
        if value == default:  # most are, so that only the others are looked at
            continue
        if not hasattr(type(value), "__dataclass_fields__"):
            plain[name] = value
        elif nested := canonical_part(value):
            plain[name] = nested
    return plain


def canonical_part(part: Any) -> dict[str, Any]:
    """`canonical` of a part of a job, kept with it: thousands of jobs share a part."""
    kept: dict[str, Any] = part.__dict__
    if CANONICAL_FORM not in kept:
        kept[CANONICAL_FORM] = canonical(part)
    form: dict[str, Any] = kept[CANONICAL_FORM]
    return form


@cache
def _distinguishing(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Name and default of each field but labels; looked up once, for a sweep has thousands of jobs."""
    unlabelled = (f for f in dataclasses.fields(kind) if not ((rule := rule_of(f)) and rule.label))
    return tuple((f.name, default_of(f)) for f in unlabelled)


def default_of(f: "dataclasses.Field[Any]") -> Any:
    """A field's default value, made afresh where it has a factory."""
    return f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default


def digest(plain: Any) -> str:
    """First 12 hex digits of the sha256 of `plain` as JSON with sorted keys."""
    return hashlib.sha256(CANONICAL.encode(plain).encode()).hexdigest()[:12]


def rebuild(kind: Any, plain: dict[str, Any]) -> Any:
    """A dataclass from the nested dict of its fields; missing ones get their defaults, unknown ones go."""
    values = {}
    for f in dataclasses.fields(kind):
        if f.name in plain:
            nested = f.default_factory if dataclasses.is_dataclass(f.default_factory) else None
            values[f.name] = rebuild(nested, plain[f.name]) if nested else plain[f.name]
    return kind(**values)

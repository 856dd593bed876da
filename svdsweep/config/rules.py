"""What a setting may be: help, unit and range, kept with its dataclass field, checked on construction."""

import dataclasses
import math
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from svdsweep.errors import UserError, nearest


@dataclass(frozen=True)
class Rule:
    """What a setting may be. `low` and `high` are inclusive; `words` are allowed beside or instead of numbers."""

    help: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    multiple_of: int | None = None
    words: tuple[str, ...] = ()
    label: bool = False
    """A name for people: it changes nothing that is computed, so it is left out of a job's key."""

    @property
    def allowed(self) -> str:
        """The range in words, as help and refusals print it; empty where anything of the type will do."""
        if self.low is None and self.high is None:
            numbers = ""
        elif self.high is None:
            numbers = f"≥ {self.low:g}"
        elif self.low is None:
            numbers = f"≤ {self.high:g}"
        else:
            high = str(self.high) if isinstance(self.high, int) else f"{self.high:g}"
            numbers = f"{self.low:g}–{high}"
        numbers += f" {self.unit}" if numbers and self.unit else ""
        numbers += f", a multiple of {self.multiple_of}" if self.multiple_of else ""
        return " or ".join(part for part in (numbers, ", ".join(self.words)) if part)


def knob(default: Any, help: str, **rule: Any) -> Any:
    """A dataclass field with a `Rule`, whose fields are the keywords. Each instance has its own copy of a list."""
    metadata = {"rule": Rule(help, **rule)}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def rule_of(f: "dataclasses.Field[Any]") -> Rule | None:
    """The rule of a field made by `knob`, else None."""
    rule = f.metadata.get("rule")
    return rule if isinstance(rule, Rule) else None


def rules(kind: Any, prefix: str = "") -> dict[str, tuple[Rule, "dataclasses.Field[Any]"]]:
    """Every setting of a dataclass and its parts by its key on the command line (`memory.offload`), in order."""
    settings: dict[str, tuple[Rule, dataclasses.Field[Any]]] = {}
    for f in dataclasses.fields(kind):
        if rule := rule_of(f):
            settings[prefix + f.name] = rule, f
        elif dataclasses.is_dataclass(f.default_factory):
            settings |= rules(f.default_factory, f"{prefix}{f.name}.")
    return settings


class Checked:
    """Mixin of frozen dataclasses whose fields are `knob`s: a value outside its rule raises `UserError`."""

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, rule in _own_rules(kind):
            check(name, getattr(self, name), rule)


@cache
def _own_rules(kind: Any) -> tuple[tuple[str, Rule], ...]:
    """The rules of a dataclass's own fields; looked up once, for a sweep builds thousands of jobs."""
    return tuple((f.name, rule) for f in dataclasses.fields(kind) if (rule := rule_of(f)))


def check(name: str, value: Any, rule: Rule) -> None:
    """Raise `UserError` unless `value` obeys `rule`; None always does (it means `not set`)."""
    if isinstance(value, str):
        if rule.words and value not in rule.words:
            raise UserError(
                f"{name}={value} is not possible: allowed is {rule.allowed}.{nearest(value, rule.words)}"
            )
    elif not isinstance(value, bool | list | tuple | None) and not _is_within(value, rule):
        raise UserError(
            f"{name}={value} is outside its range: allowed is {rule.allowed or 'a finite number'}. {rule.help}"
        )


def _is_within(value: float, rule: Rule) -> bool:
    """Whether a number is finite and obeys the rule's bounds."""
    low = -math.inf if rule.low is None else rule.low
    high = math.inf if rule.high is None else rule.high
    within = abs(value) < math.inf and low <= value <= high
    return within and (rule.multiple_of is None or value % rule.multiple_of == 0)


def typed(value: Any) -> str:
    """A value as one types it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(typed, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def in_quotes(text: str) -> str:
    """Text in single quotes, of which Hydra's grammar makes the same text: to it, a backslash is one unless it stands
    before a quote."""
    escaped = re.sub(r"(\\*)('|\Z)", lambda found: found[1] * 2 + found[2].replace("'", "\\'"), text)
    return f"'{escaped}'"


def literal(text: str) -> str:
    """Text as OmegaConf has to have it to make the same text of it, also where `${` is in it."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def unescaped(text: str) -> str:
    """What `literal` was given."""
    return re.sub(r"(\\+)\$\{", lambda found: found[1][: len(found[1]) // 2] + "${", text)

"""Every setting of a job, from its dataclasses: a field that is added later is in all tests that ask here."""

import dataclasses
from typing import Any

from svdsweep.config import Job, job_from
from svdsweep.config.rules import rules

LABELS = frozenset(name for name, (rule, _) in rules(Job).items() if rule.label)
SETTINGS = sorted(rules(Job).keys() - LABELS)
"""All but the labels, by the key that one types."""


def with_another(job: Job, name: str) -> Job:
    """The job with another value of one setting, within its rule."""
    plain = part = dataclasses.asdict(job)
    *parents, last = name.split(".")
    for parent in parents:
        part = part[parent]
    part[last] = another(name, part[last])
    return job_from(plain)


def another(name: str, value: Any) -> Any:
    """Another value of a setting, within its rule."""
    rule, f = rules(Job)[name]
    if isinstance(value, str) and (words := [w for w in rule.words if w != value]):
        return words[0]
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return [*value, "another"]
    if isinstance(value, str):
        return value + "x"
    if "str" in str(f.type) and value is None:
        return "x"
    if "bool" in str(f.type):
        return True
    step = rule.multiple_of or 1
    if value is None:
        return type(rule.low)(rule.low) if rule.low is not None else 1
    return value + step if rule.high is None or value + step <= rule.high else value - step

"""The command line that makes a job again, whatever the presets say: every setting that matters, spelt out."""

import dataclasses
import re
import shlex
from typing import Any

from svdsweep.config import Job
from svdsweep.config.keys import default_of
from svdsweep.config.rules import in_quotes, literal, rule_of, typed

PLAIN = re.compile(r"[A-Za-z0-9_./+\-]+")
PARTS = ("model", "memory", "measure", "metrics", "gpu")


def command(job: Job) -> str:
    """A line for a shell; run, it makes a job of the same key, given the same weights and picture."""
    image = job.image
    settings: dict[str, Any] = {"image.path": image.path, "image.name": image.name, "image.fit": image.fit}
    plain = [f.name for f in dataclasses.fields(Job) if f.name not in (*PARTS, "image", "baseline")]
    settings |= {name: getattr(job, name) for name in plain}
    for part in PARTS:
        value = getattr(job, part)
        for f in dataclasses.fields(value):
            rule = rule_of(f)
            if getattr(value, f.name) != default_of(f) and not (rule and rule.label and f.name != "name"):
                settings[f"{part}.{f.name}"] = getattr(value, f.name)
    model = job.model
    left_out = {
        "model.revision": model.source in ("", "embedded"),  # of random weights, or of the embedded ones
        "model.decoder_revision": not model.decoder_source,  # likewise
        "model.source": model.weights == "random",
    }
    settings = {key: value for key, value in settings.items() if not left_out.get(key)}
    words = [shlex.quote(f"{key}={quoted(value)}") for key, value in settings.items()]
    return " ".join(["python -m svdsweep", *words])


def quoted(value: Any) -> str:
    """A value in Hydra's grammar; text that could be taken for anything else is quoted."""
    if isinstance(value, list):
        return "[" + ",".join(map(quoted, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    text = typed(value)
    if isinstance(value, str) and not (PLAIN.fullmatch(text) and text not in ("null", "true", "false")):
        return in_quotes(literal(text))
    return text

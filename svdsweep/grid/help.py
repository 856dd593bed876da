"""The help page: the grammar by examples, and every setting with its default and range, made from the schema."""

import dataclasses
import textwrap
from collections.abc import Mapping
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

from svdsweep.config import Config
from svdsweep.config.keys import default_of
from svdsweep.config.rules import Rule, rules, typed

WIDTH = 100
INDENT = 30
FILLED_IN = ("image.sha256", "baseline")
"""Settings that svdsweep resolves by itself."""
BY_MODEL = (
    *("num_frames", "height", "width", "num_inference_steps"),
    *("min_guidance_scale", "max_guidance_scale"),
)
"""Settings whose default each model's preset brings along."""
HEAD = """\
svdsweep: sweep Stable Video Diffusion over seeds, motion, noise and memory settings;
measure VRAM, latency and frame consistency.

usage: svdsweep [VERB] [SETTING=VALUE[,VALUE…] …]   (or python -m svdsweep …)

verbs
{verbs}

examples (no GPU, no download: the embedded tiny model is the default)
  svdsweep motion_bucket_id=60,120,180
  svdsweep seed=range(4) noise_aug_strength=0.02,0.1 memory=baseline,model_offload
  svdsweep image=photos/ name=holiday               a folder or a glob of pictures is a sweep
  svdsweep model=svd_xt memory=glob(*)              the real model, every memory strategy
  svdsweep +experiment=motion                       a preset with a grid inside

choices (conf/, and your own with --config-dir DIR)
$APP_CONFIG_GROUPS
settings
"""
TAIL = """
flags
  --json            one JSON document on standard output, nothing else there
  --predict         plan: also simulate the peak VRAM of strategies that were not predicted yet
  --config-dir DIR  presets of your own, laid out as conf/
  --cfg job, --info defaults-tree, --hydra-help, --shell-completion: Hydra's
exit codes: 0 done (out of memory is a finding), 1 a job failed, 2 wrong input, 130 interrupted
"""


def page(verbs: Mapping[str, str]) -> str:
    """The help page, with every verb and what it does, as Hydra's template: Hydra fills in `$APP_CONFIG_GROUPS`."""
    lines = "\n".join(f"  {verb:<10} {what}" for verb, what in verbs.items())
    return HEAD.format(verbs=lines) + "\n".join(_settings()).replace("$", "$$") + "\n" + TAIL


def markdown(part: str = "") -> str:
    """The settings of a part (`memory`; the job's own without one) as a Markdown table, as the README has it."""
    lines = [
        f"| `{key}` | {_default(key, field)} | {rule.allowed} | {rule.help} |"
        for key, (rule, field) in _settable().items()
        if key.rpartition(".")[0] == part
    ]
    return "\n".join(["| setting | default | allowed | |", "|---|---|---|---|", *lines])


def presets(folder: Path) -> str:
    """The presets of a config group as a Markdown table: the sentence that each file begins with."""
    lines = ["| preset | |", "|---|---|"]
    for path in sorted(folder.glob("*.yaml")):
        comments = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
        prose = [c.removeprefix("# ") for c in comments if not c.startswith(("# @package", "# python -m"))]
        lines.append(f"| `{path.stem}` | {' '.join(prose)} |")
    return "\n".join(lines)


def _settable() -> dict[str, tuple[Rule, "dataclasses.Field[Any]"]]:
    """The settings that a user sets: those of the job first, then part by part."""
    settings = {k: v for k, v in rules(Config).items() if not v[0].label and k not in FILLED_IN}
    return {key: settings[key] for key in sorted(settings, key=lambda key: "." in key)}


def _settings() -> list[str]:
    """A line or more for each setting, the parts after a blank line."""
    lines: list[str] = []
    for part, settings in groupby(_settable().items(), lambda item: item[0].rpartition(".")[0]):
        if part:
            lines.append("")
        lines += [line for key, (rule, field) in settings for line in _entry(key, rule, field)]
    return lines


def _default(key: str, field: "dataclasses.Field[Any]") -> str:
    return "the model's" if key in BY_MODEL else typed(default_of(field)) or "none"


def _entry(key: str, rule: Rule, field: "dataclasses.Field[Any]") -> list[str]:
    allowed = f" [{rule.allowed}]" if rule.allowed else ""
    lines = textwrap.wrap(f"{rule.help}{allowed} (default: {_default(key, field)})", WIDTH - INDENT)
    name = f"  {key:<{INDENT - 3}} "
    first = [name + lines[0]] if len(name) == INDENT else [name.rstrip(), " " * INDENT + lines[0]]
    return [*first, *(" " * INDENT + line for line in lines[1:])]

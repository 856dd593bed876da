"""Which strategy to take on the machine that ran a sweep and what it costs, in one sentence."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from svdsweep.analysis.pairs import UNSEEN, Estimate
from svdsweep.analysis.strategies import BASELINE, CLASSES, Strategy
from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import numeric
from svdsweep.analysis.verdicts import AMBIGUOUS
from svdsweep.errors import some
from svdsweep.terminal import cell

PLACES_AT_MOST = 3
"""Workloads and machines that have a sentence of their own."""
KEEPS = CLASSES[:3]
"""Classes of frames that no eye can tell from the baseline's."""
SAME_MEMORY = 1.01
"""Peaks that are closer than this ratio are one."""
PRESET = re.compile(r"\w+")
"""What stands behind `memory=`; other names are made of settings."""
TOO_FEW = "not enough data"


@dataclass(frozen=True)
class Advice:
    """What to take, in one sentence; and where another needs less memory, which, in a second one."""

    sentence: str
    least: str = ""


def advice(sweep: Sweep, compared: Sequence[Strategy]) -> list[Advice]:
    """What to take on each machine for each workload, of the first few: the fastest strategy all of whose jobs ended
    well and kept the baseline's frames; of those that are as fast within the noise, the one with the least memory.
    Or why that cannot be said."""
    if not len(sweep.ok):
        return [Advice("No job ended well, so there is nothing to recommend.")]
    places = list(dict.fromkeys((s.workload, s.machine) for s in compared))
    several = len({workload for workload, _ in places}) > 1
    told = []
    for workload, machine in places[:PLACES_AT_MOST]:
        here = [s for s in compared if (s.workload, s.machine) == (workload, machine)]
        where = _where(sweep, machine) + (f", {workload}" if several else "")
        told.append(_advice(where, here, "VRAM" if "vram" in sweep.memory_column else "host memory"))
    if len(places) > PLACES_AT_MOST:
        told.append(Advice(f"{len(places) - PLACES_AT_MOST} more workloads or machines stand in the table."))
    return told


def _where(sweep: Sweep, machine: str) -> str:
    """The machine in words: a card with its memory, or a processor."""
    lines = sweep.table[sweep.table["machine"] == machine]
    if "gpu" not in lines or lines["gpu"].isna().all():
        return f"On {machine} (no GPU)"
    sizes = numeric(lines["gpu_memory_gib"]).dropna() if "gpu_memory_gib" in lines else ()
    return f"On the {machine}" + (f" of {min(sizes):.3g} GiB" if len(sizes) else "")


def _advice(where: str, here: Sequence[Strategy], kind: str) -> Advice:
    whole = [s for s in here if s.complete and s.total_s is not None]
    if not whole:
        return Advice(f"{where}: no strategy brought all of its jobs to a good end.")
    if len(here) == 1:
        cost, jobs = _cost(here[0], kind), sum(here[0].statuses.values())
        only = "one job ran" if jobs == 1 else f"{jobs} jobs ran, all"
        return Advice(
            f"{where}: only {only} with {_name(here[0])}, {cost}; there is nothing to compare it with."
        )
    pick, alike = _pick(whole)
    known = any(s.equality for s in whole)
    parts = [_cost(pick, kind), *filter(None, [_frames(pick) if known else ""])]
    sentence = f"{where}: take {_name(pick)}, {', '.join(parts)}; {_why(pick, alike, here, whole)}."
    least = min(whole, key=lambda s: s.memory_gib or float("inf"))
    if not _needs_less(least, pick):
        return Advice(sentence)
    parts = [_cost(least, kind), *filter(None, [_frames(least) if known else ""])]
    return Advice(sentence, f"Least memory takes {_name(least)}: {', '.join(parts)}.")


def _pick(whole: Sequence[Strategy]) -> tuple[Strategy, list[Strategy]]:
    """What to take of some complete strategies, and what is as fast within the noise, itself among them."""
    faithful = [s for s in whole if s.equality in KEEPS and not s.faults] or list(whole)
    fastest = min(faithful, key=_seconds)
    alike = [s for s in faithful if s is fastest or _as_fast(s, fastest)]
    least = min(s.memory_gib or float("inf") for s in alike)
    small = [s for s in alike if (s.memory_gib or float("inf")) <= least * SAME_MEMORY]
    return min(small, key=_seconds), alike


def _as_fast(s: Strategy, fastest: Strategy) -> bool:
    """Whether a difference of latency is within the noise: no verdict against the baseline, if one of them is that;
    else the intervals of their ratios to it overlap."""
    if BASELINE in (s.name, fastest.name):
        other = s if fastest.name == BASELINE else fastest
        return other.latency.verdict in (UNSEEN, AMBIGUOUS)
    low, high = s.latency.low, fastest.latency.high
    return low is not None and high is not None and low <= high


def _needs_less(s: Strategy, other: Strategy) -> bool:
    """Whether a strategy's peak is below another's by more than `SAME_MEMORY`."""
    peaks = s.memory_gib, other.memory_gib
    return peaks[0] is not None and peaks[1] is not None and peaks[0] * SAME_MEMORY < peaks[1]


def _seconds(s: Strategy) -> float:
    return s.total_s or 0.0


def _name(s: Strategy) -> str:
    return f"memory={s.name}" if PRESET.fullmatch(s.name) else f"the strategy {s.name}"


def _cost(s: Strategy, kind: str) -> str:
    """Latency and peak memory, each with what it is against the baseline."""
    time = f"{cell(s.total_s)} s a video{_time_ratio(s.latency)}"
    if s.memory_gib is None:
        return time
    change = (s.memory.value or 1.0) - 1
    against = f" ({100 * change:+.0f} %)".replace("-", "−") if abs(change) > SAME_MEMORY - 1 else ""
    return f"{time} and {cell(s.memory_gib)} GiB of {kind}{against}"


def _time_ratio(e: Estimate) -> str:
    if e.value is None:
        return ""
    if e.verdict == UNSEEN:
        return " (the baseline's time, within the noise)"
    doubts = {TOO_FEW: ", of too few runs to be sure", AMBIGUOUS: ", which is ambiguous"}
    return f" ({e.value:.3g} × the baseline's time{doubts.get(e.verdict, '')})"


def _frames(s: Strategy) -> str:
    """How a strategy's frames are to the baseline's; nothing of the baseline's own."""
    worst = (
        "" if s.psnr_db is None else f" ({s.psnr_db:.3g} dB{' at worst' if s.equality not in KEEPS else ''})"
    )
    words = {
        "baseline": "",
        "exact": "frames the same as the baseline's to the bit",
        "equivalent": f"frames the same as the baseline's within rounding{worst}",
        "near": f"frames near the baseline's{worst}",
        "different": f"frames that differ from the baseline's{worst}",
    }
    return words.get(s.equality or "", "frames not compared")


def _why(
    pick: Strategy, alike: Sequence[Strategy], here: Sequence[Strategy], whole: Sequence[Strategy]
) -> str:
    """Why this one, what else there was, and what was left out."""
    if len(whole) == 1:
        return f"the only one of {len(here)} that brought all of its jobs to a good end"
    parts = [_merit(pick, alike, whole)]
    fastest = min(whole, key=_seconds)
    if fastest not in alike:
        parts.append(f"{fastest.name} takes {cell(fastest.total_s)} s, {_frames(fastest)}")
    if lost := [s.name for s in here if s not in whole]:
        parts.append(f"not all jobs ended well of {some(lost, 3)}")
    return "; ".join(parts)


def _merit(pick: Strategy, alike: Sequence[Strategy], whole: Sequence[Strategy]) -> str:
    """What the strategy to take has over the others that ended well."""
    others = [s for s in alike if s is not pick]
    if others:
        more = ", with more memory" if all(_needs_less(pick, s) for s in others) else ""
        return f"within the noise as fast: {some([s.name for s in others], 3)}{more}"
    if not any(s.equality for s in whole):
        return f"the fastest of {len(whole)}, no baseline having ended well to compare frames with"
    if pick.equality not in KEEPS:
        return "the fastest, for none keeps the baseline's frames"
    return "the fastest that keeps the frames"

"""Was the GPU slowed down while a sweep ran? A sentence for the report; rows tell it each for itself."""

from svdsweep.analysis.sweep import Sweep
from svdsweep.probes.throttling import TOLD_BY, throttling, words_of


def throttled_of_sweep(sweep: Sweep) -> list[str]:
    """A sentence on the jobs whose timed runs were slowed down for long enough to matter; none where none was."""
    told = sweep.ok[[name for name in ("memory", *TOLD_BY) if name in sweep.ok]]
    jobs = [(line["memory"], throttling(line)) for line in told.to_dict("records")]
    slowed = [(name, told) for name, told in jobs if told and told.matters]
    if not slowed:
        return []
    most = max((told.percent for _, told in slowed if told.percent is not None), default=None)
    share = f" for up to {most:.0f} % of the time" if most is not None else ""
    reasons, names = (
        words_of(*(told.reasons for _, told in slowed)),
        ", ".join(dict.fromkeys(n for n, _ in slowed)),
    )
    return [
        f"the GPU was slowed down{share} in {len(slowed)} of {len(jobs)} jobs ({reasons}), under {names}: their times "
        "are not those of a GPU at its full clock; `svdsweep doctor` tells what mends it"
    ]

"""What the documentation of Stable Video Diffusion says, claim by claim, against the rows of a sweep.

The claims are those of https://huggingface.co/docs/diffusers/using-diffusers/svd."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from svdsweep.analysis.pairs import NO_PAIR, Estimate, mean_difference
from svdsweep.analysis.responses import position, rises
from svdsweep.analysis.strategies import TAKEN, Strategy, strategies
from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import SETTINGS, first_measured, numeric
from svdsweep.config import Job
from svdsweep.store.columns import asked_for

COMMAND = "python -m svdsweep +experiment=docs_claims model=svd_xt"
TOY = "tiny"
"""The architecture that no claim is about."""
GB = 1e9 / 2**30
"""The documentation's unit, in GiB."""
COMPILING = (
    *("memory.compile", "memory.compile_mode", "memory.compile_backend"),
    *("memory.compile_fullgraph", "memory.compile_dynamic"),
)
"""The knobs that shape how the UNet is compiled."""
CASE = ("image", "seed")
SAME = (
    "machine",
    *(
        n
        for n in SETTINGS
        if n not in ("memory", "decode_chunk_size") and not n.startswith(("measure", "metrics"))
    ),
)
"""What jobs that are compared by their `decode_chunk_size` have in common: the strategy's knobs, not its name."""
RISING = (
    ("motion_bucket_id", "gives more motion", "motion_px", "higher"),
    ("noise_aug_strength", "gives more motion", "motion_px", "higher"),
    ("noise_aug_strength", "makes the video less like the image", "first_psnr_db", "lower"),
)
"""Claims that a metric rises or falls with a setting: setting, what a higher one does, metric, direction."""


@dataclass(frozen=True)
class Claim:
    """A claim and what the rows say to it. `verdict`: holds, does not hold, not sure, predicted, unanswerable."""

    text: str
    measured: str
    interval: str
    verdict: str
    why: str = ""
    """What would answer it, or on what the answer rests."""


def claims(sweep: Sweep, compared: Sequence[Strategy] | None = None) -> list[Claim]:
    """Every claim, answered or marked unanswerable with the reason. `compared` are the sweep's strategies, if the
    caller has them."""
    compared = strategies(sweep, ["mc_flicker_255"]) if compared is None else compared
    return [
        compiling(sweep, compared),
        under_8gb(sweep),
        one_frame_memory(sweep),
        one_frame_flicker(sweep),
        *(rising(sweep, *claim) for claim in RISING),
    ]


def compiling(sweep: Sweep, compared: Sequence[Strategy]) -> Claim:
    """Speed-up of the compiled UNet, and what it costs."""
    text = "Compiling the UNet makes it 20–25 % faster for slightly more memory."
    if not _on_gpu(sweep):
        return _unanswerable(text, "the claim is about a GPU, and none ran this sweep")
    names = set(sweep.table.loc[_only_compiled(sweep.table), "memory"])
    compiled = next((s for s in compared if s.name in names and s.latency.value is not None), None)
    if compiled is None or (ratio := compiled.latency.value) is None:
        return _unanswerable(text, "no job with compile=whole and its baseline ended well", sweep, "compile")
    e, m = compiled.latency, compiled.memory
    vram = f", {m.value - 1:+.1%} VRAM" if m.value is not None else ""
    measured = f"{_percent_faster(ratio)} in {compiled.workload}{vram}"
    if e.low is None or e.high is None:
        return Claim(text, measured, "", "not sure", e.method)
    interval = f"{_percent_faster(e.high)} to {_percent_faster(e.low)} ({e.method})"
    verdict = "holds" if e.low <= 0.8 else "does not hold"
    if e.high < 0.75:
        interval += "; more than claimed"
    elif 0.8 < e.low < 1:
        interval += "; less than claimed"
    return Claim(text, measured, interval, verdict, _on(sweep))


def under_8gb(sweep: Sweep) -> Claim:
    """Peak of the documentation's three tricks together, at full size."""
    text = "Model offload, forward chunking and decode_chunk_size=2 together need less than 8 GB of VRAM."
    table = sweep.table
    wanted = table[_three_tricks(table)] if len(table) else table
    ok = wanted[wanted["status"] == "ok"]
    if column := first_measured(ok, TAKEN):
        values = numeric(ok[column]).dropna()
        least, most = values.min(), values.max()
        verdict = "holds" if most < 8 * GB else "does not hold"
        measured = f"{most:.2f} GiB ({most / GB:.2f} GB), the largest {column} of {len(values)} jobs"
        return Claim(text, measured, f"{least:.2f}–{most:.2f} GiB over the jobs", verdict, _on(sweep))
    if first_measured(wanted, ["predicted_vram_gib"]):
        most = numeric(wanted["predicted_vram_gib"]).max()
        side = "below" if most < 8 * GB else "above"
        return Claim(text, f"{most:.2f} GiB predicted: {side} 8 GB", "", "predicted", "no GPU measured it")
    why = "no GPU measured the full-size model in that setting; a smaller model's VRAM says nothing about it"
    return _unanswerable(text, why, sweep, "under_8gb")


def _three_tricks(table: pd.DataFrame) -> "pd.Series[bool]":
    return (
        (table["memory.offload"] == "model")
        & table["memory.forward_chunk_size"].notna()
        & (table["decode_chunk_size"].map(position) == 2)
        & (table["model.architecture"] != TOY)
        & (numeric(table["width"]) * numeric(table["height"]) >= 576 * 1024)
    )


def one_frame_memory(sweep: Sweep) -> Claim:
    """Whether no decode takes less VRAM than that of one frame at a time."""
    text = "decode_chunk_size=1 uses the least memory."
    if not _on_gpu(sweep):
        return _unanswerable(text, "the claim is about VRAM, and no GPU ran this sweep")
    by_chunk = _by_chunk(sweep, "vae_decode_vram_allocated_peak_gib").dropna()
    if by_chunk.empty:
        return _unanswerable(text, "there are no jobs that differ in decode_chunk_size only, 1 among them")
    peaks = by_chunk.max()
    one, others = peaks[1.0], peaks.drop(1.0)
    listed = ", ".join(f"{gib:.2f} GiB at {chunk:.0f}" for chunk, gib in others.items())
    verdict = "holds" if one <= others.min() * 1.01 else "does not hold"
    measured = f"decode peak {one:.2f} GiB at 1, {listed}"
    return Claim(text, measured, "an allocator's peak", verdict, _on(sweep))


def one_frame_flicker(sweep: Sweep) -> Claim:
    """Whether decoding frame by frame flickers more than decoding all at once, a mean for each (image, seed)."""
    text = "decode_chunk_size=1 may flicker."
    by_chunk, e = _by_chunk(sweep, "mc_flicker_255"), NO_PAIR
    if len(by_chunk):
        gaps = (by_chunk[1.0] - by_chunk[by_chunk.columns.max()]).dropna()
        e = mean_difference(gaps.groupby(level=list(CASE)).mean().tolist(), "lower")
    if e.value is None:
        return _unanswerable(
            text, "there are no jobs that differ in decode_chunk_size only, 1 and all among them"
        )
    measured = f"{e.value:+.3f} levels of mc_flicker_255 against all frames at once"
    return _answered(text, measured, e, "worse", sweep)


def _by_chunk(sweep: Sweep, metric: str) -> pd.DataFrame:
    """A metric by the number of frames decoded at once, jobs that differ in nothing else in one line; empty without
    jobs that decode one frame at a time, and others that do not."""
    table = sweep.ok
    if metric not in table or table.empty:
        return pd.DataFrame()
    apart = [name for name in SAME if name not in CASE and table[name].nunique(dropna=False) > 1]
    same = [*CASE, *apart]
    data = table[same].map(str)  # astype(str) would keep what is missing, and pivoting drop it
    sizes = zip(table["decode_chunk_size"], table["num_frames"], strict=True)
    data["chunk"] = [min(position(chunk, frames), frames) for chunk, frames in sizes]
    data["y"] = numeric(table[metric]).astype(float)
    by_chunk = data.dropna(subset=["y"]).pivot_table(index=same, columns="chunk", values="y")
    return by_chunk if 1.0 in by_chunk.columns and len(by_chunk.columns) > 1 else pd.DataFrame()


def rising(sweep: Sweep, axis: str, effect: str, metric: str, wanted: str) -> Claim:
    """Whether a metric is `wanted` (`higher`, `lower`) at the highest value of a setting against the lowest."""
    text, e = f"A higher {axis} {effect}.", rises(sweep, axis, metric)
    if e.value is None:
        why = f"{axis} was not swept under the baseline strategy, or {metric} is not there"
        return _unanswerable(text, why)
    values = numeric(sweep.ok[axis])
    measured = f"{e.value:+.3g} {metric} from {axis} {values.min():g} to {values.max():g}"
    return _answered(text, measured, e, wanted, sweep)


def _answered(text: str, measured: str, e: Estimate, wanted: str, sweep: Sweep) -> Claim:
    """The claim that a difference is the `wanted` one, by its estimate."""
    bounded = e.low is not None and e.high is not None
    interval = f"{e.low:+.3g} to {e.high:+.3g} ({e.method})" if bounded else e.method
    sure = e.verdict in ("higher", "lower", "better", "worse", "equal")
    verdict = "holds" if e.verdict == wanted else "does not hold" if sure else "not sure"
    return Claim(text, measured, interval, verdict, _on(sweep))


def _unanswerable(text: str, why: str, sweep: Sweep | None = None, strategy: str = "") -> Claim:
    if sweep is not None and len(sweep.table):
        errors = sweep.table.loc[sweep.table["memory"] == strategy, "error"].dropna()
        why += next((f" ({error})" for error in errors if error), "")
    return Claim(text, "", "", "unanswerable", why)


def _on(sweep: Sweep) -> str:
    models, machines = (", ".join(sorted(map(str, sweep.ok[n].unique()))) for n in ("model", "machine"))
    is_toy = (sweep.ok["model.architecture"] == TOY).all()
    toy = " (a toy: it says nothing about the true model)" if is_toy else ""
    return f"model {models}{toy} on {machines}"


def _on_gpu(sweep: Sweep) -> bool:
    return "gpu" in sweep.ok and bool(sweep.ok["gpu"].notna().any())


def _percent_faster(ratio: float) -> str:
    return f"{1 - ratio:.1%} faster" if ratio <= 1 else f"{ratio - 1:.1%} slower"


def _only_compiled(table: pd.DataFrame) -> "pd.Series[bool]":
    """Where the UNet is compiled as a whole, and every knob that does not shape that stands as it does by default."""
    chosen = table["memory.compile"] == "whole"
    for column, default in asked_for(Job()).items():
        if column.startswith("memory.") and column not in COMPILING and column in table:
            chosen &= table[column].isna() if default is None else table[column].fillna("") == default
    return chosen

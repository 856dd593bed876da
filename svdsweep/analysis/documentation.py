"""What the documentation of Stable Video Diffusion says, claim by claim, against the rows of a sweep.

The claims are those of https://huggingface.co/docs/diffusers/using-diffusers/svd."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from svdsweep.analysis.pairs import Estimate, mean_difference
from svdsweep.analysis.responses import position, rises
from svdsweep.analysis.strategies import Strategy, strategies
from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import numeric
from svdsweep.config import Job
from svdsweep.store.columns import asked_for

COMMAND = "python -m svdsweep +experiment=docs_claims model=svd_xt"
FULL_SIZE = ("svd", "svd_xt", "svd_xt_1_1")
GB = 1e9 / 2**30
"""Of the documentation, in GiB."""


@dataclass(frozen=True)
class Claim:
    """A claim and what the rows say to it. `verdict`: holds, does not hold, not sure, predicted, unanswerable."""

    text: str
    measured: str
    interval: str
    verdict: str
    why: str = ""
    """What would answer it, or on what the answer rests."""


def claims(sweep: Sweep, found: Sequence[Strategy] | None = None) -> list[Claim]:
    """Every claim, answered or marked unanswerable with the reason. `found` are the sweep's strategies, if known."""
    found = strategies(sweep, ["mc_flicker_255"]) if found is None else found
    answers: Sequence[Callable[[Sweep, Sequence[Strategy]], Claim]] = (
        compiling,
        under_8gb,
        one_frame_memory,
        one_frame_flicker,
        motion_bucket,
        noise_motion,
        noise_likeness,
    )
    return [answer(sweep, found) for answer in answers]


def compiling(sweep: Sweep, found: Sequence[Strategy]) -> Claim:
    """Speed-up of the compiled UNet, and what it costs."""
    text = "Compiling the UNet makes it 20–25 % faster for slightly more memory."
    compiled = _with(sweep, found, _only_compiled)
    if not _on_gpu(sweep):
        return _unanswerable(text, "the claim is about a GPU, and none ran this sweep")
    if not compiled or compiled[0].latency.value is None:
        return _unanswerable(text, "no job with compile=whole and its baseline ended well", sweep, "compile")
    e, m = compiled[0].latency, compiled[0].memory
    measured = f"{_percent_faster(e.value)} in {compiled[0].workload}"
    if m.value is not None:
        measured += f", {m.value - 1:+.1%} VRAM"
    if e.low is None or e.high is None or e.value is None:
        return Claim(text, measured, "", "not sure", e.method)
    interval = f"{_percent_faster(e.high)} to {_percent_faster(e.low)} ({e.method})"
    if e.low >= 1:
        verdict = "does not hold"
    elif e.low <= 0.8 and e.high >= 0.75:
        verdict = "holds"
    elif e.high < 0.75:
        verdict = "holds"
        interval += "; more than claimed"
    else:
        verdict = "does not hold"
        interval += "; less than claimed"
    return Claim(text, measured, interval, verdict, _on(sweep))


def under_8gb(sweep: Sweep, found: Sequence[Strategy]) -> Claim:
    """Peak of the documentation's three tricks together, at full size."""
    text = "Model offload, forward chunking and decode_chunk_size=2 together need less than 8 GB of VRAM."
    table = sweep.table
    wanted = (
        table[
            (table["memory.offload"] == "model")
            & table["memory.forward_chunk_size"].notna()
            & (table["decode_chunk_size"].map(position) == 2)
            & table["model"].isin(FULL_SIZE)
            & (numeric(table["width"]) * numeric(table["height"]) >= 576 * 1024)
        ]
        if len(table)
        else table
    )
    peaks = _known(wanted[wanted["status"] == "ok"] if len(wanted) else wanted, _PEAKS)
    if peaks is not None:
        column, values = peaks
        most = max(values)
        verdict = "holds" if most < 8 * GB else "does not hold"
        return Claim(
            text,
            f"{most:.2f} GiB ({most / GB:.2f} GB), the largest {column} of {len(values)} jobs",
            f"{min(values):.2f}–{most:.2f} GiB over the jobs",
            verdict,
            _on(sweep),
        )
    predicted = _known(wanted, ("predicted_vram_gib",))
    if predicted is not None:
        most = max(predicted[1])
        side = "below" if most < 8 * GB else "above"
        return Claim(text, f"{most:.2f} GiB predicted: {side} 8 GB", "", "predicted", "no GPU measured it")
    why = "no GPU measured the full-size model in that setting; a smaller model's VRAM says nothing about it"
    return _unanswerable(text, why, sweep, "under_8gb")


_COMPILING = (
    *("memory.compile", "memory.compile_mode", "memory.compile_backend"),
    *("memory.compile_fullgraph", "memory.compile_dynamic"),
)
_PEAKS = ("vram_process_peak_gib", "vram_reserved_peak_gib", "vram_allocated_peak_gib")


def one_frame_memory(sweep: Sweep, found: Sequence[Strategy]) -> Claim:
    """Which decode takes least VRAM."""
    text = "decode_chunk_size=1 uses the least memory."
    if not _on_gpu(sweep):
        return _unanswerable(text, "the claim is about VRAM, and no GPU ran this sweep")
    sides = _chunks(sweep, "vae_decode_vram_allocated_peak_gib")
    if sides is None:
        return _unanswerable(text, "there are no jobs that differ in decode_chunk_size only, 1 among them")
    one, others = sides
    least = min(others.values())
    listed = ", ".join(f"{v:.2f} GiB at {k}" for k, v in sorted(others.items()))
    verdict = "holds" if one <= least * 1.01 else "does not hold"
    return Claim(
        text, f"decode peak {one:.2f} GiB at 1, {listed}", "an allocator's peak", verdict, _on(sweep)
    )


def one_frame_flicker(sweep: Sweep, found: Sequence[Strategy]) -> Claim:
    """Whether decoding frame by frame flickers more."""
    text = "decode_chunk_size=1 may flicker."
    gaps = _chunk_gaps(sweep, "mc_flicker_255")
    if not gaps:
        return _unanswerable(
            text, "there are no jobs that differ in decode_chunk_size only, 1 and all among them"
        )
    e = mean_difference(gaps, "lower")
    verdict = {"worse": "holds", "better": "does not hold", "equal": "does not hold"}.get(
        e.verdict, "not sure"
    )
    return Claim(
        text,
        f"{e.value:+.3f} levels of mc_flicker_255 against all frames at once",
        _span(e),
        verdict,
        _on(sweep),
    )


def motion_bucket(sweep: Sweep, found: Sequence[Strategy]) -> Claim:
    """Motion against the bucket."""
    return _rising(
        sweep, "A higher motion_bucket_id gives more motion.", "motion_bucket_id", "motion_px", "higher"
    )


def noise_motion(sweep: Sweep, found: Sequence[Strategy]) -> Claim:
    """Motion against the noise on the image."""
    return _rising(
        sweep, "A higher noise_aug_strength gives more motion.", "noise_aug_strength", "motion_px", "higher"
    )


def noise_likeness(sweep: Sweep, found: Sequence[Strategy]) -> Claim:
    """Likeness to the image against the noise on it."""
    return _rising(
        sweep,
        "A higher noise_aug_strength makes the video less like the image.",
        "noise_aug_strength",
        "first_psnr_db",
        "lower",
    )


def _rising(sweep: Sweep, text: str, axis: str, metric: str, wanted: str) -> Claim:
    e = rises(sweep, axis, metric)
    if e.value is None:
        return _unanswerable(
            text, f"{axis} was not swept under the baseline strategy, or {metric} is not there"
        )
    table = sweep.ok
    values = sorted(float(v) for v in numeric(table[axis]).dropna().unique())
    measured = f"{e.value:+.3g} {metric} from {axis} {values[0]:g} to {values[-1]:g}"
    verdict = "not sure"
    if e.verdict in ("higher", "lower"):
        verdict = "holds" if e.verdict == wanted else "does not hold"
    elif e.verdict == "equal":
        verdict = "does not hold"
    return Claim(text, measured, _span(e), verdict, _on(sweep))


def _span(e: Estimate) -> str:
    if e.low is None or e.high is None:
        return e.method
    return f"{e.low:+.3g} to {e.high:+.3g} ({e.method})"


def _unanswerable(text: str, why: str, sweep: Sweep | None = None, strategy: str = "") -> Claim:
    if sweep is not None and strategy and len(sweep.table):
        mine = sweep.table[sweep.table["memory"] == strategy]
        reasons = [str(error) for error in mine.get("error", pd.Series(dtype=str)).dropna().unique() if error]
        why += f" ({reasons[0]})" if reasons else ""
    return Claim(text, "", "", "unanswerable", why)


def _on(sweep: Sweep) -> str:
    models = ", ".join(sorted(map(str, sweep.ok["model"].unique())))
    machines = ", ".join(sorted(map(str, sweep.ok["machine"].unique())))
    toy = " (a toy: it says nothing about the true model)" if models == "tiny" else ""
    return f"model {models}{toy} on {machines}"


def _on_gpu(sweep: Sweep) -> bool:
    return "gpu" in sweep.ok and bool(sweep.ok["gpu"].notna().any())


def _percent_faster(ratio: float | None) -> str:
    if ratio is None:
        return "unknown"
    return f"{1 - ratio:.1%} faster" if ratio <= 1 else f"{ratio - 1:.1%} slower"


def _only_compiled(table: pd.DataFrame) -> "pd.Series[bool]":
    """Where the UNet is compiled as a whole, and every knob that does not shape that stands as it does by default."""
    found = table["memory.compile"] == "whole"
    for column, default in asked_for(Job()).items():
        if column.startswith("memory.") and column not in _COMPILING and column in table:
            found &= table[column].isna() if default is None else table[column].fillna("") == default
    return found


def _with(
    sweep: Sweep, found: Sequence[Strategy], where: Callable[[pd.DataFrame], "pd.Series[bool]"]
) -> list[Strategy]:
    if sweep.table.empty:
        return []
    names = set(sweep.table.loc[where(sweep.table), "memory"])
    return [s for s in found if s.name in names and s.latency.value is not None]


def _known(table: pd.DataFrame, columns: Sequence[str]) -> tuple[str, list[float]] | None:
    for name in columns:
        values = [float(v) for v in numeric(table[name]).dropna()] if name in table else []
        if values:
            return name, values
    return None


_SAME = (
    *("model", "machine", "image", "seed", "motion_bucket_id", "noise_aug_strength", "fps", "num_frames"),
    *("height", "width", "num_inference_steps", "min_guidance_scale", "max_guidance_scale"),
    *("memory.offload", "memory.forward_chunk_size", "memory.compile", "memory.unet_weights"),
)


def _chunk_table(sweep: Sweep, metric: str) -> pd.DataFrame:
    """Jobs by their frames a decode, those that differ in nothing else together."""
    table = sweep.ok
    if metric not in table or table.empty:
        return pd.DataFrame()
    data = table[[*_SAME]].map(str)  # astype(str) would keep what is missing, and pivoting drop it
    data["chunk"] = [
        min(position(v, n), n) for v, n in zip(table["decode_chunk_size"], table["num_frames"], strict=True)
    ]
    data["y"] = numeric(table[metric]).astype(float)
    wide = data.dropna(subset=["y"]).pivot_table(index=list(_SAME), columns="chunk", values="y")
    return wide if 1.0 in wide.columns and len(wide.columns) > 1 else pd.DataFrame()


def _chunks(sweep: Sweep, metric: str) -> tuple[float, dict[int, float]] | None:
    wide = _chunk_table(sweep, metric).dropna()
    if wide.empty:
        return None
    return float(wide[1.0].max()), {int(c): float(wide[c].max()) for c in map(float, wide.columns) if c != 1}


def _chunk_gaps(sweep: Sweep, metric: str) -> list[float]:
    """One frame a decode minus all at once, a mean for each (image, seed)."""
    wide = _chunk_table(sweep, metric)
    if wide.empty:
        return []
    gaps = (wide[1.0] - wide[max(wide.columns)]).dropna()
    return [float(v) for v in gaps.groupby(level=["image", "seed"]).mean()]

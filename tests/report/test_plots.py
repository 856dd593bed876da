"""What the report's plots show: each number in its place."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import made_up
import pytest
from matplotlib.figure import Figure
from PIL import Image as Pictures

from svdsweep.analysis.strategies import strategies
from svdsweep.config import Memory, Metrics
from svdsweep.metrics import CATALOGUE, Column
from svdsweep.report import plots, setting_plots, strategy_plots
from svdsweep.report.calls_plot import drift_by_calls
from svdsweep.report.drawing import COLOURS, Plot, looks
from svdsweep.report.failures import failures
from svdsweep.report.pictures import differences
from svdsweep.report.setting_plots import heatmaps, responses
from svdsweep.report.strategy_plots import job_times, pareto, repeats, stage_memory, stage_times
from svdsweep.store.rows import STATUSES, Row

BASE, OTHER = Memory(name="baseline"), Memory(name="other", offload="model")


def marks(plot):
    """Where the marks of a plot lie, by the words of their tooltips."""
    lines = [line for axes in plot.figure.axes for line in axes.lines if line.get_gid()]
    return {plot.tips[line.get_gid()]: line for line in lines}


def test_the_front_joins_what_no_other_beats_in_memory_and_latency_and_every_mark_tells_its_own():
    placed = {"baseline": (30.0, 10.0, None), "fast": (31.0, 8.0, 40.0), "small": (20.0, 13.0, 30.0)}
    placed |= {"even": (25.0, 13.0, 60.0), "twin": (31.0, 9.5, 95.0)}
    placed = dict(reversed(placed.items()))
    placed |= {
        "unjudged": (40.0, 20.0, None),
        "beaten": (32.0, 14.0, 20.0),
        "faithful": (31.5, 9.0, 90.0),
        "broken": (6.0, 5.0, 100.0),
    }
    known = [
        made_up.strategy(name, memory_gib=gib, total_s=s, psnr_db=db) for name, (gib, s, db) in placed.items()
    ]
    known[-1] = replace(known[-1], statuses={"ok": 1, "oom": 1})
    sweep = made_up.in_memory(made_up.ok(made_up.job(), vram_allocated_peak_gib=1.0))
    unknown = [made_up.strategy("untimed", memory_gib=1.0), made_up.strategy("uncounted", total_s=50.0)]
    plot = pareto(sweep, [*known, *unknown], looks([*placed, "untimed", "uncounted"]))
    axes, found = plot.figure.axes[0], marks(plot)
    edge = axes.lines[0]
    assert list(zip(edge.get_xdata(), edge.get_ydata(), strict=True)) == [(20, 13), (30, 10), (31, 8)]
    assert {words: (*line.get_xdata(), *line.get_ydata()) for words, line in found.items()} == {
        "baseline: 10 s, 30 GiB, the reference, on the front": (30, 10),
        "fast: 8 s, 31 GiB, PSNR to baseline 40 dB, on the front": (31, 8),
        "small: 13 s, 20 GiB, PSNR to baseline 30 dB, on the front": (20, 13),
        "even: 13 s, 25 GiB, PSNR to baseline 60 dB, on the front": (25, 13),
        "twin: 9.5 s, 31 GiB, PSNR to baseline 95 dB, on the front": (31, 9.5),
        "unjudged: 20 s, 40 GiB, PSNR to baseline – dB": (40, 20),
        "beaten: 14 s, 32 GiB, PSNR to baseline 20 dB": (32, 14),
        "faithful: 9 s, 31.5 GiB, PSNR to baseline 90 dB, on the front": (31.5, 9),
        "broken: 5 s, 6 GiB, PSNR to baseline 100 dB, not all jobs ended well": (6, 5),
    }
    sizes = {words.partition(":")[0]: line.get_markersize() for words, line in found.items()}
    large = {name for name, size in sizes.items() if size == max(sizes.values())}
    assert large == {"baseline", "fast", "small", "faithful", "even", "twin"}
    hollow = [words.partition(":")[0] for words, line in found.items() if line.get_mfc() == "none"]
    assert hollow == ["broken"]
    assert {text.get_text(): text.xy for text in axes.texts} == {n: v[:2] for n, v in placed.items()}
    assert axes.get_xlabel() == "VRAM peak, allocated (GiB)"
    assert axes.get_ylabel() == "latency of one video (s)"
    on_a_cpu = made_up.in_memory(made_up.ok(made_up.job()))
    assert pareto(on_a_cpu, known[:1], looks(placed)) is None
    axes = pareto(on_a_cpu, known[:2], looks(placed)).figure.axes[0]
    assert axes.get_xlabel() == "host memory peak of the worker (GiB)"


def two_strategies():
    """Three jobs of two strategies whose medians differ from their means; one job in three has encoded by itself."""
    rows = []
    for scale, memory in ((1.0, BASE), (2.0, Memory(name="a", offload="model"))):
        for seed, x in enumerate((1.0, 2.0, 9.0)):
            stages = {"denoise_s": 5.0 * x * scale, "vae_decode_s": x * scale}
            stages |= {"vae_encode_s": None if seed else 3.0 * scale, "image_encode_s": None}
            stages |= {
                "denoise_vram_allocated_peak_gib": 3 * x * scale,
                "vae_decode_vram_allocated_peak_gib": 4 * x,
            }
            rows.append(made_up.ok(made_up.job(memory, seed=seed), [6.0 * x * scale], **stages))
    sweep = made_up.in_memory(*rows)
    return sweep, [*strategies(sweep), made_up.strategy("untimed")]


def bars(plot):
    """Where each bar begins, how long it is and in what line, by its stage and strategy."""
    found = {}
    for bar in plot.figure.axes[0].patches:
        found[plot.tips[bar.get_gid()]] = (bar.get_x(), bar.get_width(), bar.get_y() + bar.get_height() / 2)
    return found


def test_bars_of_time_are_stacked_medians_and_their_tips_tell_them():
    plot = stage_times(*two_strategies())
    assert bars(plot) == {
        "baseline, vae_encode: 3 s": (0, 3, 0),
        "a, vae_encode: 6 s": (0, 6, 1),
        "baseline, denoise: 10 s": (3, 10, 0),
        "a, denoise: 20 s": (6, 20, 1),
        "baseline, vae_decode: 2 s": (13, 2, 0),
        "a, vae_decode: 4 s": (26, 4, 1),
    }
    axes = plot.figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["baseline", "a"]
    assert axes.yaxis_inverted(), "the first strategy stands at the top"
    assert axes.get_xlabel() == "latency (s)"


def test_bars_beside_the_run_are_means_over_all_jobs_of_a_strategy():
    beside = [{"load_s": 8.0, "warmup_s": 3.0, "judge_s": 2.0}, {"idle_s": 4.0, "judge_s": 4.0}]
    rows = [made_up.ok(made_up.job(seed=n), [6.0], **values) for n, values in enumerate(beside)]
    sweep = made_up.in_memory(*rows)
    plot = job_times(sweep, strategies(sweep))
    assert bars(plot) == {
        "baseline, load: 4 s": (0, 4, 0),
        "baseline, warm-up: 1.5 s": (4, 1.5, 0),
        "baseline, waiting for the framework: 2 s": (5.5, 2, 0),
    }
    assert "Judging takes 3 s a job" in plot.caption
    without = made_up.in_memory(rows[0])
    assert job_times(without, strategies(without)) is None


def test_bars_are_of_one_workload_and_machine_and_say_which(monkeypatch):
    sizes = [(64, made_up.GPU), (72, made_up.GPU), (72, made_up.GPU | {"gpu": "NVIDIA L4"})]
    rows = [
        made_up.ok(made_up.job(height=h, seed=n), [6.0], denoise_s=float(n), provenance=place)
        for n, (h, place) in enumerate(sizes, 1)
    ]
    sweep = made_up.in_memory(*rows)
    plot = stage_times(sweep, strategies(sweep))
    labels = [label.get_text() for label in plot.figure.axes[0].get_yticklabels()]
    card = made_up.GPU["gpu"]
    size = "baseline, 14 × 64×{} px, {}".format
    assert labels == [size(64, card), size(72, "NVIDIA L4"), size(72, card)]
    seconds = {words: place[1] for words, place in bars(plot).items() if ", denoise" in words}
    assert list(seconds.values()) == pytest.approx([1.0, 3.0, 2.0])
    monkeypatch.setattr(strategy_plots, "BARS_AT_MOST", 2)
    assert stage_times(sweep, strategies(sweep)).caption.endswith(" 1 more are left out.")


def test_bars_of_memory_stand_side_by_side_and_all_begin_at_nothing():
    plot = stage_memory(*two_strategies())
    assert bars(plot) == {
        "baseline, denoise: 6 GiB": (0, 6, pytest.approx(-0.2)),
        "a, denoise: 12 GiB": (0, 12, pytest.approx(0.8)),
        "baseline, vae_decode: 8 GiB": (0, 8, pytest.approx(0.2)),
        "a, vae_decode: 8 GiB": (0, 8, pytest.approx(1.2)),
    }
    assert plot.figure.axes[0].get_xlabel() == "allocated peak (GiB)"


def test_repeats_are_shares_of_their_own_jobs_median_and_thinned_where_they_are_many(monkeypatch):
    sweep, compared = two_strategies()
    runs = [[1.0, 2.0, 6.0], [8.0, 10.0, 12.0], [5.0], [30.0, 40.0, 60.0]]  # one job ran once
    sweep = replace(sweep, repeats=dict(zip(sweep.ok["key"], runs, strict=False)))
    look = looks(["baseline", "a", "untimed"])
    plot = repeats(sweep, compared, look)
    lines = [list(line.get_xdata()) for line in plot.figure.axes[0].lines[:2]]
    assert lines == [[0.5, 1.0, 3.0, 0.8, 1.0, 1.2], [0.75, 1.0, 1.5]]
    places = [{round(float(y)) for y in line.get_ydata()} for line in plot.figure.axes[0].lines[:2]]
    assert places == [{0}, {1}]
    assert plot.caption == "Every timed repeat; none is dropped."
    for limit, kept, told in ((6, 6, "Every timed repeat"), (4, 3, "At most 4 repeats a strategy")):
        monkeypatch.setattr(strategy_plots, "POINTS_AT_MOST", limit)
        plot = repeats(sweep, compared, look)
        assert (len(plot.figure.axes[0].lines[0].get_xdata()), plot.caption.startswith(told)) == (kept, True)


def test_a_line_along_a_setting_goes_through_the_means_with_their_intervals():
    rows = [
        made_up.ok(made_up.job(memory, seed=seed, motion_bucket_id=bucket), motion_px=scale * bucket + x)
        for scale, memory in ((1.0, BASE), (2.0, OTHER))
        for bucket in (120, 60)
        for seed, x in enumerate((0.0, 3.0, 9.0))
    ]
    sweep, motion = made_up.in_memory(*rows), CATALOGUE["motion_px"]
    plot = responses(
        sweep, "motion_bucket_id", [motion, CATALOGUE["ssim_to_baseline"]], looks(["baseline", "other"])
    )
    (axes,) = plot.figure.axes  # nothing has a number of the second metric
    lines = {line.get_label(): line for line in axes.lines if not line.get_gid()}
    assert {name: (list(line.get_xdata()), list(line.get_ydata())) for name, line in lines.items()} == {
        "baseline": ([60, 120], [64, 124]),
        "other": ([60, 120], [124, 244]),
    }
    bands = [band.get_datalim(axes.transData).extents.tolist() for band in axes.collections]
    half = pytest.approx([60, 64 - 11.384, 120, 124 + 11.384], abs=0.001)
    assert (bands[0], len(bands)) == (half, 2)
    # Student's t of 2 degrees of freedom, 4.303, times the deviation √21 over √3
    tips = {
        f"baseline, motion_bucket_id={b}: motion_px {b + 4} ({b + 4 - 11.384:.4g} to {b + 4 + 11.384:.4g}), n=3"
        for b in (60, 120)
    }
    assert {words for words in plot.tips.values() if words.startswith("baseline")} == tips
    assert {words: list(line.get_xdata()) for words, line in marks(plot).items() if "=60:" in words} == {
        words: [60] for words in plot.tips.values() if "=60:" in words
    }
    assert (axes.get_title(), axes.get_ylabel()) == ("motion_px", "px/frame")
    assert "left out" not in plot.caption


def test_a_heat_map_is_of_the_baseline_and_the_highest_mean_is_the_brightest():
    rows = [
        made_up.ok(
            made_up.job(memory, motion_bucket_id=b, fps=f, seed=seed),
            motion_px=scale * b * f + x,
            first_psnr_db=None if seed else 2.0 * b,
        )
        for scale, memory in ((7.0, OTHER), (1.0, BASE))
        for b in (60, 120)
        for f in (5, 10)
        for seed, x in enumerate((-9.0, 1.0, 8.0))
    ]
    metrics = [CATALOGUE["motion_px"], CATALOGUE["first_psnr_db"]]
    plot = heatmaps(made_up.in_memory(*rows), "motion_bucket_id", "fps", metrics)
    axes, other = plot.figure.axes
    assert [(a.get_title(), a.get_xlabel(), a.get_ylabel()) for a in (axes, other)] == [
        *(("motion_px", "motion_bucket_id", "fps"), ("first_psnr_db", "motion_bucket_id", ""))
    ]
    assert {plot.tips[field.get_gid()].rpartition(" ")[2] for field in other.patches} == {"120", "240"}
    fields = {plot.tips[field.get_gid()]: field for field in axes.patches}
    places = {words: (f.get_x() + 0.5, f.get_y() + 0.5) for words, f in fields.items()}
    assert places == {
        f"motion_bucket_id={b}, fps={f}: motion_px {b * f}": (x, y)
        for x, b in enumerate((60, 120))
        for y, f in enumerate((5, 10))
    }
    light = {words: sum(field.get_facecolor()[:3]) for words, field in fields.items()}
    assert max(light, key=light.get) == "motion_bucket_id=120, fps=10: motion_px 1200"
    assert min(light, key=light.get) == "motion_bucket_id=60, fps=5: motion_px 300"
    assert plot.caption == "Means over images and seeds under baseline; bright is high."


def test_a_setting_with_too_many_values_is_no_axis_and_where_lines_are_too_many_the_baseline_stays(
    monkeypatch,
):
    monkeypatch.setattr(plots, "VALUES_AT_MOST", 2)
    monkeypatch.setattr(setting_plots, "LINES_AT_MOST", 1)
    rows = [
        made_up.ok(made_up.job(memory, motion_bucket_id=b, fps=f, noise_aug_strength=n), motion_px=1.0)
        for memory in (Memory(name="another", offload="model"), BASE)
        for b in (60, 120, 180)
        for f in (5, 10)
        for n in (0.1, 0.2)
    ]
    sweep = made_up.in_memory(*rows)
    drawn = {plot.name: plot for plot in plots.draw_all(sweep, strategies(sweep))}
    assert [name for name in drawn if name.startswith(("response", "heat"))] == [
        *("response_noise_aug_strength", "response_fps", "heat_noise_aug_strength_fps")
    ]
    assert drawn["response_fps"].figure.axes[0].get_legend_handles_labels()[1] == [
        "baseline, motion_bucket_id=60, noise_aug_strength=0.1"
    ]
    assert drawn["response_fps"].caption.endswith(" 11 more lines are left out.")


def test_the_time_of_a_decode_is_drawn_along_its_chunks_and_the_baseline_has_the_first_colour():
    rows = [
        made_up.ok(
            made_up.job(memory, decode_chunk_size=size, seed=s), motion_px=1.0 + s, vae_decode_s=10.0 / size
        )
        for memory in (Memory(name="a", offload="model"), BASE)
        for size in (2, 8)
        for s in (0, 1)
    ]
    sweep = made_up.in_memory(*rows)
    drawn = {plot.name: plot.figure for plot in plots.draw_all(sweep, strategies(sweep))}
    panels = {axes.get_title(): axes for axes in drawn["response_decode_chunk_size"].axes}
    assert [*panels] == ["motion_px", "vae_decode_s"]
    lines = {line.get_label(): line for line in panels["vae_decode_s"].lines if not line.get_gid()}
    assert [list(line.get_ydata()) for line in lines.values()] == [[5.0, 1.25]] * 2
    assert {name: line.get_color() for name, line in lines.items()} == {
        "baseline": COLOURS[0],
        "a": COLOURS[1],
    }


def test_metrics_of_any_job_are_headlines(monkeypatch):
    own = Column("mean_255", "levels", "Mean.", headline=3)
    monkeypatch.setitem(sys.modules, "mine.brightness", SimpleNamespace(COLUMNS=(own,)))
    asked = Metrics(families=["mine.brightness"])
    jobs = [made_up.job(seed=1), made_up.job(seed=2, metrics=asked), made_up.job(seed=3)]
    sweep = made_up.in_memory(*(made_up.ok(job, mean_255=1.0) for job in jobs))
    assert own in plots.headline_metrics(sweep)


def test_twice_seven_strategies_look_different_and_only_flat_plots_take_the_whole_width():
    names = [str(i) for i in range(14)]
    assert len({tuple(look.values()) for look in looks(names).values()}) == 14
    sizes = {(9, 3): True, (9, 5): False, (7, 3): False}
    assert {size: Plot("", "", "", Figure(figsize=size)).wide for size in sizes} == sizes


def test_each_reason_stands_once_with_its_jobs():
    ends = [("oom", "denoise", "no room"), ("failed", "load", "boom"), ("oom", "vae_decode", "no room")]
    ends += [(status, "", "no room") for status in STATUSES if status not in ("ok", "oom", "failed")]
    jobs = [made_up.job(seed=seed) for seed in range(len(ends) + 2)]
    rows = [
        Row(job, status, phase=phase, error=error)
        for job, (status, phase, error) in zip(jobs, [*ends, ends[0]], strict=False)
    ]
    found = failures(made_up.in_memory(*rows, made_up.ok(jobs[-1])))
    assert [(f.status, f.phase, f.error, f.keys) for f in found] == [
        (*ends[0], [jobs[0].key, jobs[-2].key]),
        *((*end, [job.key]) for end, job in zip(ends[1:], jobs[1:], strict=False)),
    ]


def test_the_difference_picture_is_of_the_job_furthest_from_its_baseline_eight_times_as_bright(
    tmp_path: Path,
):
    rows, far = [], Memory(name="far", forward_chunk_size=2)
    apart = [(1, 48.0, 10, 28.0), (4, 36.0, 9, 29.0), (0, 100.0, 8, 30.0)]
    for seed, (levels, psnr, more, less) in enumerate(apart):
        for memory, grey, db in ((BASE, 0, None), (OTHER, levels, psnr), (far, more, less)):
            job = made_up.job(memory, seed=seed)
            sheet = f"{job.key}.png"
            Pictures.new("RGB", (4, 4), (100 + 20 * seed + grey, 0, 255)).save(tmp_path / sheet)
            rows.append(made_up.ok(job, contact_sheet=sheet, psnr_to_baseline_db=db))
    sweep = replace(made_up.in_memory(*rows), folder=tmp_path)
    found = differences(sweep, ["baseline", "other", "far"])
    assert [(f.strategy, f.psnr_db, f.key) for f in found] == [
        *(("other", 36.0, rows[4].key), ("far", 28.0, rows[2].key))
    ]
    for difference, red in zip(found, (32, 80), strict=True):
        with Pictures.open(tmp_path / difference.path) as picture:
            assert picture.getpixel((0, 0)) == (red, 0, 0)
    untold = [replace(row, values={**row.values, "psnr_to_baseline_db": None}) for row in rows]
    unseen = [replace(row, values={**row.values, "contact_sheet": None}) for row in rows[::3]]
    for spoilt in (untold, [*unseen, *rows[1::3], *rows[2::3]]):
        assert differences(replace(made_up.in_memory(*spoilt), folder=tmp_path), ["other"]) == []
    exact = [replace(row, values={**row.values, "psnr_to_baseline_db": 100.0}) for row in rows]
    assert differences(replace(made_up.in_memory(*exact), folder=tmp_path), ["other"]) == []


@pytest.mark.parametrize(("again", "expected"), [(0, 24), (1, 56)], ids=["the baseline", "the strategy"])
def test_a_difference_picture_is_drawn_anew_when_either_of_its_jobs_ran_again(
    tmp_path: Path, again: int, expected: int
):
    base, other = made_up.job(BASE), made_up.job(OTHER)
    sheets = [tmp_path / f"{job.key}.png" for job in (base, other)]

    def written(sheet: Path, grey: int, at_s: int):
        Pictures.new("RGB", (4, 4), (grey,) * 3).save(sheet)
        os.utime(sheet, (at_s, at_s))

    def picture() -> int:
        (found,) = differences(sweep, ["other"])
        os.utime(tmp_path / found.path, (2_000, 2_000))
        with Pictures.open(tmp_path / found.path) as drawn:
            return drawn.getpixel((0, 0))[0]

    written(sheets[0], 100, 1_000)
    written(sheets[1], 105, 1_000)
    rows = [
        made_up.ok(job, contact_sheet=sheet.name, psnr_to_baseline_db=db)
        for job, sheet, db in zip((base, other), sheets, (None, 40.0), strict=True)
    ]
    sweep = replace(made_up.in_memory(*rows), folder=tmp_path)
    assert picture() == 8 * 5
    written(sheets[again], (102, 107)[again], 3_000)
    assert picture() == expected


def test_drift_is_drawn_against_calls_of_the_unet_a_line_a_road():
    roads = {
        "fewer steps": lambda n: Memory(name=f"s{n}", denoise_steps=n),
        "Align Your Steps": lambda n: Memory(name=f"a{n}", denoise_steps=n, sigmas="ays"),
        "step cache": lambda n: Memory(name=f"c{n}", denoise_steps=n, step_cache="linear"),
        "step cache + Align Your Steps": lambda n: Memory(
            name=f"b{n}", denoise_steps=n, step_cache="linear", sigmas="ays"
        ),
        "DeepCache (whole calls)": lambda n: Memory(name=f"d{n}", deepcache_interval=n),
        "noise levels of one's own": lambda n: Memory(name=f"e{n}", sigmas=[*range(n, -1, -1)]),
    }
    rows = [
        made_up.ok(
            made_up.job(memory(n), seed=seed), unet_calls=n, psnr_to_baseline_db=30.0 + n + i + 2 * seed
        )
        for i, memory in enumerate(roads.values())
        for n in (4, 8)
        for seed in (0, 1)
    ]
    others = [
        made_up.ok(made_up.job(BASE), unet_calls=25),
        made_up.ok(made_up.job(OTHER), unet_calls=25, psnr_to_baseline_db=60.0),
        made_up.ok(
            made_up.job(Memory(guidance=False, denoise_steps=6)), unet_calls=6, psnr_to_baseline_db=9.0
        ),
    ]
    plot = drift_by_calls(made_up.in_memory(*rows, *others))
    assert {words: (*line.get_xdata(), *line.get_ydata()) for words, line in marks(plot).items()} == {
        f"{road}: {n} calls, PSNR to baseline {31 + n + i} dB": (n, 31 + n + i)
        for i, road in enumerate(roads)
        for n in (4, 8)
    }
    assert drift_by_calls(made_up.in_memory(*others)) is None
    assert drift_by_calls(made_up.in_memory(made_up.ok(made_up.job(BASE)))) is None

"""Memory over time: areas that stack to what was predicted, one scale, words at the peak, what a GPU held on top."""

import dataclasses
import json

import made_up
import pytest

from svdsweep.predict import cache
from svdsweep.predict.prediction import GIB, Prediction, Stage, Stretch
from svdsweep.report import memory_plot, over_time, write
from svdsweep.report.memory_plot import Panel
from svdsweep.store.columns import STAGES
from svdsweep.store.rows import Row


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def foreseen(decode_gib, weights_gib=4):
    """Weights all along, some activations in two kinds of steps, and a decode."""

    def stage(*stretches):
        over = [
            Stretch(
                [[int(n * GIB) for n in point] for point in points], "add", f"unet.up.{turn}", turn, times
            )
            for turn, times, points in stretches
        ]
        highest = max(sum(point) for _, _, points in stretches for point in points)
        return Stage(highest, weights_gib, "add", "vae.decoder", [], [], 0.0, 0.0, over_time=over)

    still, step = [weights_gib, 0, 0, 0, 0], [weights_gib, 2, 1, 0, 0]
    decode = [weights_gib, 0, 0, decode_gib, 0.5]
    held = [
        stage((0, 1, [still, still])),
        stage((0, 1, [still])),
        stage((0, 1, [still, step]), (1, 24, [step, still])),
    ]
    return Prediction(dict(zip(STAGES, [*held, stage((0, 1, [still, decode, still]))], strict=True)))


def words(axes):
    return " ".join([axes.get_title(loc="left"), *(text.get_text() for text in axes.texts)])


def test_panels_share_a_scale_and_tell_their_peaks_and_small_ones_are_magnified():
    plot = memory_plot.over_time([Panel("all", foreseen(26)), Panel("few", foreseen(1, 0))])
    large, small = plot.figure.axes
    assert large.get_ylim() == small.get_ylim() == pytest.approx((0, 30.5 * 1.12))
    assert "all: 30.50 GiB" in words(large)
    assert "in vae_decode: decode 26.00 + weights 4.00 + transfers 0.50\nat add in\nunet.up.0" in words(large)
    assert {"8 GB", "12 GB", "24 GB"} <= {text.get_text() for text in large.texts}
    assert not large.child_axes
    (lens,) = small.child_axes
    assert lens.get_ylim()[1] == pytest.approx(3 * 1.08)
    labels = [label.get_text() for label in large.get_xticklabels()]
    assert labels == ["image\nencode", "vae\nencode", "step 1", "step 2\none of 24 alike", "vae\ndecode"]
    kinds = [text.get_text() for text in plot.figure.legends[0].get_texts()]
    assert kinds == ["weights", "activations", "attention", "decode", "transfers"]
    assert plot.tips["over-time-1"].startswith(
        "few: 3.00 GiB in denoise at add in unet.up.0: activations 2.00 +"
    )


def test_areas_stack_up_to_what_is_predicted():
    axes = memory_plot.over_time([Panel("all", foreseen(26))]).figure.axes[0]
    tops = [max(y for path in area.get_paths() for _, y in path.vertices) for area in axes.collections]
    assert tops == pytest.approx([4, 6, 7, 30, 30.5])


def test_what_a_gpu_held_lies_on_top_of_the_same_stretch_and_its_size_is_the_line():
    measured = {"denoise": [[4.0, 7.5, None], [7.5, 4.1]]}
    plot = memory_plot.over_time([Panel("all", foreseen(26), measured)], ("NVIDIA L4", 22.0))
    axes = plot.figure.axes[0]
    lines = [
        [*map(tuple, line.get_xydata())] for line in axes.lines if len(line.get_xydata()) == len([0, 0, 0])
    ]
    assert [point[:2] for point in lines[0][:2]] == [(2.0, 4.0), (3.0, 7.5)]
    assert [text.get_text() for text in axes.texts if "GB" in text.get_text() or "L4" in text.get_text()] == [
        "NVIDIA L4"
    ]
    assert "measured" in [text.get_text() for text in plot.figure.legends[0].get_texts()]
    assert "The line is what a GPU held." in plot.caption


def test_without_a_curve_nothing_is_drawn_and_of_many_the_rest_is_counted():
    bare = Prediction({name: Stage(1.0, 0.5, "", "", [], [], 0.0, 0.0) for name in STAGES})
    assert memory_plot.over_time([Panel("bare", bare)]) is None
    many = [Panel(str(i), foreseen(3)) for i in range(memory_plot.PANELS_AT_MOST + 2)]
    assert memory_plot.over_time(many).caption.endswith("2 more strategies are left out.")


def odd(levels):
    """A row whose measured curve somebody wrote."""
    return lambda row: dataclasses.replace(row, series={**row.series, "denoise_over_time_gib": levels})


@pytest.mark.usefixtures("no_drawing")
def test_the_page_shows_what_was_predicted_of_its_strategies(tmp_path):
    cache.keep(made_up.job(made_up.STRATEGIES["baseline"]), foreseen(26))
    made_up.sweep(tmp_path / "a", change=odd([[4.0, 7.5]]))
    page = write(tmp_path / "a").read_text(encoding="utf-8")
    assert '<section id="over-time">' in page
    assert "<td>in vae_decode</td><td>add in unet.up.0</td>" in page
    assert "The line is what a GPU held." in page
    told = (tmp_path / "a" / "report.md").read_text(encoding="utf-8")
    assert "## Memory over time" in told
    assert "| baseline | 30.50 | 4.00 | 0.00 | 0.00 | 26.00 | 0.50 | in vae\\_decode |" in told


@pytest.mark.parametrize(
    "levels",
    [[1.0, 2.0], [[1e300, 1.0]], [[-1.0]], [[]], [[None, None]], [[1.0]] * 99, [[0.0] * 9999]],
    ids=str,
)
def test_a_strangers_curve_changes_no_scale(levels):
    row = odd(levels)(made_up.ok(made_up.job(), vram_allocated_peak_gib=30.0))
    assert Row.from_plain(json.loads(row.to_json())).series["denoise_over_time_gib"] == levels
    cache.keep(row.job, foreseen(26))
    sweep = dataclasses.replace(made_up.in_memory(row), over_time={row.key: {"denoise": levels}})
    section = over_time.section_of(sweep)
    assert section.plot.figure.axes[0].get_ylim()[1] == pytest.approx(30.5 * 1.12)
    section.plot.figure.draw_without_rendering()


def test_functions_that_a_row_names_are_never_predicted():
    job = made_up.job(dataclasses.replace(made_up.STRATEGIES["baseline"], extra=["os.system"]))
    assert over_time.representatives(made_up.in_memory(made_up.ok(job))) == []

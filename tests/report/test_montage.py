"""A montage shows the right clip in the right place at the right time, and says why where it shows none."""

import dataclasses
import os
import shutil
import tracemalloc
from collections import Counter

import made_up
import numpy as np
import pytest
from broken_ffmpeg import HEARS_HALF, KILLED_AT_ONCE, needs_sh, put_in_place
from PIL import Image, ImageSequence

from svdsweep.analysis.sweep import open_sweep
from svdsweep.errors import UserError
from svdsweep.metrics.shared.files import read
from svdsweep.report import montage, write
from svdsweep.report.montage import Wish
from svdsweep.report.montage.cells import grid_of
from svdsweep.report.montage.clips import Scaled
from svdsweep.report.montage.layout import LARGEST_SIDE, Panel, fitting
from svdsweep.report.montage.lettering import Lettering
from svdsweep.report.montage.picture import Placed
from svdsweep.store.rows import Row, Store
from svdsweep.worker.media import write_video

BUCKETS = (60, 120, 180)
STRATEGIES = ("baseline", "forward_chunking", "model_offload")
FRAMES, SHORT = 4, 2
CELL = 32
WHOLE = Wish(rows="memory", columns="motion_bucket_id", cell=CELL)
OFF = 12
"""Levels of 255 by which three codecs and a palette may move a flat colour: two halvings of the colour's resolution
and 256 colours for a dozen clips."""


def colour(row, column, frame):
    """The flat colour of a clip's frame: no two of them are nearer than 3 × `OFF` in some channel."""
    return np.array([40 + 80 * row, 40 + 80 * column, 30 + 60 * frame])


def store_clip(folder, job, colours, size=(32, 48), status="ok", **values):
    """A row and its video of flat frames."""
    frames = np.stack([np.full((*size, 3), c, np.uint8) for c in colours])
    write_video(folder / f"videos/{job.key}.mp4", frames, job.fps)
    row = made_up.ok(job, video=f"videos/{job.key}.mp4", **values)
    Store(folder, "bench-1").append(dataclasses.replace(row, status=status))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three strategies and three buckets: one clip is shorter, one defective, one job ran out of memory, one waits."""
    folder = tmp_path_factory.mktemp("runs") / "flat"
    for r, name in enumerate(STRATEGIES):
        for c, bucket in enumerate(BUCKETS):
            job = made_up.job(made_up.STRATEGIES[name], motion_bucket_id=bucket, num_frames=FRAMES, **SIZE)
            if (r, c) == (2, 1):
                Store(folder, "bench-1").append(Row(job, "oom", error="20 GiB are too much", phase="denoise"))
            elif (r, c) != (2, 2):
                count = SHORT if (r, c) == (1, 1) else FRAMES
                colours = [colour(r, c, f) for f in range(count)]
                status = "defective" if (r, c) == (2, 0) else "ok"
                store_clip(folder, job, colours, status=status, vram_allocated_peak_gib=20.25)
    return folder


SIZE = {"height": 32, "width": 48, "num_inference_steps": 1}


@pytest.fixture(scope="module")
def sweep(folder):
    return open_sweep(folder)


VIDEO = (Panel("video"),)


def laid_out(sweep, wish=WHOLE, panels=VIDEO):
    grid = grid_of(sweep, wish.rows, wish.columns, wish.where, wish.under)
    return fitting(grid, panels, SIZE["height"] / SIZE["width"], wish.cell, wish.width)


def frames_of(path):
    if path.suffix == ".mp4":
        return read(path, 100).frames
    with Image.open(path) as picture:
        return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)])


def middle(frame, layout, row, column, panel=0):
    """The mean colour within a panel."""
    x, y = layout.x[column] + panel * layout.step, layout.y[row]
    return frame[y + 4 : y + layout.box[1] - 4, x + 4 : x + layout.box[0] - 4].mean((0, 1))


@pytest.mark.parametrize("kind", ["mp4", "webp", "gif"])
def test_each_cell_shows_its_own_clip_frame_by_frame_and_a_shorter_one_its_last(sweep, tmp_path, kind):
    made = montage.write(sweep, tmp_path / f"out.{kind}", WHOLE)
    assert (made.cells, made.frames, made.fps) == ((3, 3), FRAMES, 7)
    assert made.without == {"out of memory in denoise": 1, "not run": 1}
    frames, layout = frames_of(made.path), laid_out(sweep)
    assert frames.shape == (FRAMES, *made.size[::-1], 3)
    for r, c in [(r, c) for r in range(3) for c in range(3) if (r, c) not in ((2, 1), (2, 2))]:
        for f, frame in enumerate(frames):
            last = SHORT - 1 if (r, c) == (1, 1) else FRAMES - 1
            assert abs(middle(frame, layout, r, c) - colour(r, c, min(f, last))).max() < OFF, (r, c, f)


def test_a_cell_without_a_video_is_grey_with_words_in_it(sweep, tmp_path):
    made = montage.write(sweep, tmp_path / "out.png", dataclasses.replace(WHOLE, cell=96, frames=[0]))
    layout = laid_out(sweep, dataclasses.replace(WHOLE, cell=96), [Panel("video", 0, "frame 0")])
    sheet = np.asarray(Image.open(made.path))
    for column in (1, 2):
        x, y = layout.x[column] + 2, layout.y[2] + 2
        box = sheet[y : y + layout.box[1] - 4, x : x + layout.box[0] - 4].reshape(-1, 3)
        colours = Counter(map(tuple, box.tolist()))
        assert colours.most_common(1)[0][0] == (0xF3, 0xF3, 0xF0)
        assert min(sum(c) for c in colours) < 400, "ink"


def test_the_baseline_and_the_difference_eight_times_as_bright_stand_beside_a_clip(tmp_path):
    flat = tmp_path / "sweep"
    baseline = made_up.job(num_frames=2, **SIZE)
    other = made_up.job(made_up.STRATEGIES["compile"], num_frames=2, **SIZE)
    store_clip(flat, baseline, [(100, 100, 100)] * 2)
    store_clip(flat, other, [(110, 110, 110)] * 2)
    wish = Wish(columns="memory", cell=CELL, beside=["baseline", "difference"], frames=[1])
    sheet = np.asarray(Image.open(montage.write(open_sweep(flat), tmp_path / "out.png", wish).path))
    panels = [Panel(kind, 1, f"{title}, frame 1") for kind, title in montage.TITLES.items()]
    layout = laid_out(open_sweep(flat), wish, panels)
    mine, base, apart = (middle(sheet, layout, 0, 1, panel).mean() for panel in range(3))
    assert abs(mine - 110) < 3
    assert abs(base - 100) < 3
    assert abs(apart - 80) <= 16, "a level more or less in each of the two videos"
    beside_itself = middle(sheet, layout, 0, 0, 1)
    assert beside_itself.min() > 150, "the baseline has no baseline: words on grey"


@pytest.mark.parametrize(("fps", "shown"), [(7, [0, 0, 1, 1, 2, 2]), (14, [0, 1, 2, 2, 2, 2])])
def test_clips_run_by_their_own_rates_in_the_montages_time(tmp_path, fps, shown):
    raw = np.arange(3, dtype=np.uint8).repeat(2 * 2 * 3)
    (tmp_path / "0.rgb").write_bytes(raw.tobytes())
    clip = Placed(0, 0, Scaled(tmp_path / "0.rgb", (2, 2), 3, fps), None, None)
    assert [int(clip.frame(time, 14)[0, 0, 0]) for time in range(6)] == shown


def test_strategies_stand_along_the_top_and_numbers_rise_down_the_side(sweep):
    grid = grid_of(sweep, None, None)
    assert (grid.rows.name, grid.columns.name) == ("motion_bucket_id", "memory")
    assert grid.rows.places == [(60,), (120,), (180,)]
    assert grid.columns.places == [(name,) for name in STRATEGIES]
    both = grid_of(sweep, "", "memory,motion_bucket_id")
    assert both.columns.places == [(name, bucket) for name in STRATEGIES for bucket in BUCKETS][:8]


@pytest.mark.parametrize(
    ("where", "left"),
    [("motion_bucket_id=120", 3), ("motion_bucket_id=60,120", 6), ("motion_bucket_id=60.0", 3)],
)
def test_where_keeps_the_jobs_of_a_value_or_of_several(sweep, where, left):
    assert len(grid_of(sweep, "memory", "motion_bucket_id", [where]).cells) == left


def test_what_stands_below_a_cell_has_its_unit_and_a_defect_its_name(sweep):
    grid = grid_of(sweep, "memory", "motion_bucket_id", under=["total_s", "vram_allocated_peak_gib"])
    assert grid.at(0, 0).under == "10 s · 20.25 GiB"
    assert grid.at(2, 0).under == "defective · 10 s · 20.25 GiB"
    assert not grid.at(2, 1).under


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(rows="memry"), "memry is no setting. Did you mean memory"),
        (Wish(rows="memory", columns="memory"), "on one axis, once"),
        (Wish(columns="memory", rows=""), r"motion_bucket_id \(60, 120, 180\).*--where motion_bucket_id=60"),
        (Wish(where=["motion_bucket_id=61"]), "there are 60, 120, 180. Did you mean 60"),
        (Wish(under=["total"]), "no column of this sweep. Did you mean total_s"),
        (Wish(cell=8), "--cell 8 is not possible"),
        (Wish(cell=300, width=300), "give one of them"),
        (Wish(width=40), "no room for so many columns"),
        (Wish(cell=LARGEST_SIDE), "which no player shows"),
        (Wish(fps=51), "--fps 51"),
        (Wish(frames=[0]), "a sheet shows"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_what_can(sweep, tmp_path, wish, said):
    with pytest.raises(UserError, match=said):
        montage.write(sweep, tmp_path / "out.mp4", wish)
    assert not list(tmp_path.iterdir())


def test_frames_that_no_clip_has_are_refused(sweep, tmp_path):
    with pytest.raises(UserError, match="the longest of these clips has 4, numbered 0 to 3"):
        montage.write(sweep, tmp_path / "out.png", Wish(frames=[0, 4]))


def test_a_disk_without_room_for_the_frames_is_told_before_any_is_read(sweep, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match=r"px take [\d,]+ MiB .* has 1 MiB free.*TMPDIR.*--cell"):
        montage.write(sweep, tmp_path / "out.mp4", Wish(cell=512))
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("width", [400, 777, 1500])
def test_a_montage_is_as_wide_as_was_asked_and_its_cells_fill_it(sweep, width):
    layout = laid_out(sweep, dataclasses.replace(WHOLE, cell=None, width=width))
    assert layout.size[0] == width // 2 * 2
    assert layout.x[-1] + layout.cell_width <= width
    assert layout.x[-1] + layout.cell_width > width - 60, "letters grow in steps"


def test_without_a_size_it_is_no_larger_than_usual_screens(sweep):
    assert laid_out(sweep, dataclasses.replace(WHOLE, cell=None)).box[0] == 256
    wide = [Panel("video", number) for number in range(8)]
    assert laid_out(sweep, dataclasses.replace(WHOLE, cell=None), wide).size[0] <= 1920


@pytest.mark.parametrize(
    "text",
    ["", "猫の写真", "a\nb\x1b[31m", "\udce4.png", "🚀" * 50, "x" * 5000, "Łódź/εικόνα", "\u202etxt"],
    ids=["nothing", "cjk", "controls", "surrogate", "emoji", "long", "letters", "override"],
)
@pytest.mark.parametrize("width", [1, 40, 200])
def test_any_name_is_drawn_within_its_width_its_beginning_kept(text, width):
    lettering = Lettering("bold", 12)
    lines = lettering.lines(text, width, 3)
    assert len(lines) <= 3
    assert all(lettering.width(line) <= max(width, lettering.width("W")) for line in lines)
    if text and width == 200:
        assert lettering.legible(text).startswith(lines[0][:3])


def test_two_names_in_signs_that_the_font_lacks_stay_apart():
    lettering = Lettering("plain", 12)
    assert lettering.legible("猫") != lettering.legible("犬")
    assert lettering.legible("Łódź, εικόνα, картина") == "Łódź, εικόνα, картина"


def test_a_file_that_only_calls_itself_a_video_leads_nowhere(folder, tmp_path):
    """ffmpeg follows lists of other files, if it is let."""
    here = tmp_path / "sweep"
    secret = next((folder / "videos").glob("*.mp4"))
    for number, bucket in enumerate(BUCKETS):
        store_clip(here, made_up.job(motion_bucket_id=bucket, **SIZE), [colour(0, number, 0)] * 2)
    lists, links, _ = sorted((here / "videos").glob("*.mp4"))
    lists.write_text(f"ffconcat version 1.0\nfile '{secret.as_posix()}'\n", encoding="utf-8")
    links.unlink()
    if os.name != "nt":
        links.symlink_to(secret)
    made = montage.write(open_sweep(here), tmp_path / "out.png", Wish(frames=[0]))
    assert sum(made.without.values()) == 2
    assert made.without["video unreadable"] == 1


@needs_sh
@pytest.mark.parametrize("script", [KILLED_AT_ONCE, HEARS_HALF])
def test_an_ffmpeg_that_dies_leaves_nothing_and_is_told(sweep, tmp_path, monkeypatch, script):
    put_in_place(monkeypatch, tmp_path, script.replace("*rawvideo*)", "*rgb24*-i*-*)"))
    with pytest.raises(UserError, match=r"out\.mp4 cannot be written: .*ffmpeg"):
        montage.write(sweep, tmp_path / "out.mp4", WHOLE)
    assert [path.name for path in tmp_path.iterdir()] == ["ffmpeg.sh"]


@pytest.mark.usefixtures("no_drawing")
def test_the_page_shows_the_montage_of_its_folder_and_else_how_to_make_one(tmp_path):
    made_up.sweep(tmp_path, seeds=range(2), strategies={"baseline": made_up.STRATEGIES["baseline"]})
    line = f"svdsweep montage {tmp_path} --rows motion_bucket_id --columns seed"
    page = write(tmp_path).read_text(encoding="utf-8")
    assert line in page or os.name == "nt", "a path of Windows is quoted"
    assert "montage.mp4" not in page
    (tmp_path / "montage.mp4").touch()
    (tmp_path / "montage.gif").mkdir()
    page = write(tmp_path).read_text(encoding="utf-8")
    assert '<video src="montage.mp4"' in page
    assert "montage.gif" not in page
    assert line not in page


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("rows", [10, pytest.param(40, marks=pytest.mark.by_hand)])
def test_hundreds_of_cells_are_not_in_memory_at_once(tmp_path, rows):
    clip = np.random.default_rng(0).integers(0, 255, (25, 64, 64, 3), np.uint8)
    first = tmp_path / "first.mp4"
    write_video(first, clip, 7)
    (tmp_path / "videos").mkdir()
    for seed in range(25):
        for bucket in range(1, rows + 1):
            job = made_up.job(motion_bucket_id=bucket, seed=seed, num_frames=25, height=64, width=64)
            shutil.copyfile(first, tmp_path / f"videos/{job.key}.mp4")
            Store(tmp_path, "bench-1").append(made_up.ok(job, video=f"videos/{job.key}.mp4"))
    sweep = open_sweep(tmp_path)
    tracemalloc.start()
    try:
        made = montage.write(sweep, tmp_path / "out.webp", Wish(cell=64))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (made.cells, made.frames) == ((rows, 25), 25)
    assert not made.without
    assert peak < rows * 25 * clip.nbytes / 2, "some copies of one frame; it is a twenty-fifth of the clips"

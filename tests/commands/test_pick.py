"""`svdsweep pick`, as a user types it."""

import json
import signal
import subprocess
import sys
import time

import pytest
import seeded

from svdsweep import cli
from svdsweep.grid.expand import expand
from svdsweep.search.candidates import with_steps
from svdsweep.store.rows import Store, read_rows

GRID = ["seed=range(24)", "num_inference_steps=25", "image=sprite_white", "name=p"]
BY = ["--by", "adj_psnr_db", "--prefer", "higher"]


def made(tmp_path, agreement):
    """A sweep in which every seed has run at 3 steps and in full; the line that picks of it."""
    line = [*GRID, f"runs_dir={tmp_path}"]
    runs = seeded.Runs(seeded.values(agreement, 24))
    jobs = expand(line).jobs
    store = Store(tmp_path / "p", "w-1")
    for row in runs([job for full in jobs for job in (full, with_steps(full, 3))]).values():
        store.append(row)
    return [*line, "--keep", "2", "--budget", "60"]


@pytest.mark.usefixtures("no_drawing")
def test_a_pick_prints_its_finalists_and_writes_what_the_page_shows(tmp_path, capsys):
    assert cli.main(["pick", *made(tmp_path, 0.95), *BY]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["finalist", "job", "adj_psnr_db", "video"]
    assert [line.split()[0] for line in out[1:3]] == ["1", "2"]
    assert any(line.startswith("The finalists' mean adj_psnr_db is") for line in out)
    assert any(line.startswith("Left out: seed ") for line in out)
    assert 'id="pick"' in (tmp_path / "p" / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_drawing")
def test_where_the_pilot_refuses_the_offered_command_runs_as_it_is_told(tmp_path, capsys):
    line = made(tmp_path, 0.0)
    assert cli.main(["pick", *line, *BY, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert not told["pruned"]
    assert not told["finalists"]
    assert cli.main(["pick", *line, *BY, "--full"]) == 0
    assert "All 24 ran in full" in capsys.readouterr().out
    offered = next(sentence for sentence in told["answer"] if "--full" in sentence)
    assert "svdsweep pick 'seed=range(24)'" in offered


@pytest.mark.usefixtures("no_drawing")
def test_bounds_are_flags_named_after_columns(tmp_path, capsys):
    line = made(tmp_path, 0.95)
    assert cli.main(["pick", *line, *BY, "--total-s", "..24", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bounds"] == ["total_s ..24"]
    assert "None of the 11 that ran in full meets total_s ..24. Nearest are" in told["answer"][-1]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "pick wants the metric to pick by"),
        (["--by", "adj_psnr"], "Did you mean adj_psnr_db?"),
        (["--by", "adj_psnr_db"], "--prefer higher or --prefer lower"),
        (
            [*BY, "--motion-xp", "1..3"],
            "no flag of svdsweep pick, and there is no column motion_xp. Did you mean",
        ),
        ([*BY, "--METRIC", "1..3"], "there is no column METRIC"),
        ([*BY, "--motion-px", "3"], "--motion-px 1..3"),
        ([*BY, "--motion-px=3..1"], "the lower end first"),
        ([*BY, "--keep", "0"], "--keep 0"),
        ([*BY, "--budget", "200"], "--budget 200"),
        ([*BY, "--budget", "5"], "--budget 37 would"),
        ([*BY, "--few", "30"], "fewer steps than the full run"),
        ([*BY, "seed=3"], "One job is no choice"),
        ([*BY, "--keep", "24"], "leaves none out"),
        ([*BY, "image=rocket,coffee"], "differ in image too"),
        ([*BY, "memory=baseline,model_offload"], "differ in memory too"),
        ([*BY, "extra"], "extra"),
    ],
)
def test_wrong_input_is_refused_in_one_paragraph(argv, told, capsys):
    assert cli.main(["pick", *GRID, *argv]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_a_refusal_needs_no_torch():
    line = ["pick", "seed=range(9)", "--by", "adj"]
    code = f"import sys; from svdsweep import cli; cli.main({line}); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_plan_runs_nothing(tmp_path, capsys):
    assert cli.main(["pick", *GRID, f"runs_dir={tmp_path}", *BY, "--plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [(s["steps"], s["runs"]) for s in plan["stages"]] == [(3, 24), (25, 7), (25, 0)]
    assert plan["unet_calls"] == 24 * 3 + 7 * 25
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_real_model_is_planned_and_predicted_without_its_weights(tmp_path, cache_home, capsys):
    line = ["seed=range(64)", "model=svd_xt", "model.weights=random", f"runs_dir={tmp_path}"]
    assert cli.main(["pick", *line, "--by", "mc_flicker_255", "--plan"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split()[-3:] == ["predicted_vram_gib", "floor_s", "eager_floor_s"]
    assert "Nothing was run" in out


@pytest.mark.slow
def test_a_pick_that_is_killed_in_the_middle_goes_on(tmp_path):
    settings = [
        "seed=range(16)",
        "num_inference_steps=10",
        "num_frames=4",
        "name=p",
        "runner.claim_stale_s=2",
    ]
    line = [
        sys.executable,
        "-m",
        "svdsweep",
        "pick",
        *settings,
        *BY,
        "--keep",
        "2",
        "--budget",
        "80",
        "--json",
    ]
    first = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows, deadline = tmp_path / "runs" / "p", time.monotonic() + 300
    while sum(1 for _ in read_rows(rows)) < 18 and time.monotonic() < deadline:  # the pilot is under way
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {row.key for row in read_rows(rows)}
    again = subprocess.run(line, cwd=tmp_path, check=True, capture_output=True, encoding="utf-8")
    told = json.loads(again.stdout)
    after = [row.key for row in read_rows(rows)]
    assert len(before) >= 18
    assert len(after) == len(set(after)) > len(before)
    assert told["pruned"]
    assert len(told["finalists"]) == 2
    assert told["cost"]["calls"] <= 0.8 * 160
    assert 'id="pick"' in (rows / "report.html").read_text(encoding="utf-8")

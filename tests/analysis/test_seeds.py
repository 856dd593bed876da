"""Statistics over seeds and images: what may be said, and what so few pairs cannot say."""

import json
import math

import made_up
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from svdsweep.analysis.files import results
from svdsweep.analysis.pairs import holm
from svdsweep.analysis.seeds import over_seeds, paired_differences, signed_rank_p, smallest_p, summarize
from svdsweep.cli import main
from svdsweep.config import Image, Job, Memory
from svdsweep.errors import UserError
from svdsweep.store.rows import Row, Store


def grid(seeds=5, images=("rocket",), effect=1.0, spread=0.2, status="ok"):
    """Rows whose flicker falls by `effect` under chunks, and whose motion follows the bucket."""
    rng = np.random.default_rng(0)
    rows = []
    for number, image in enumerate(images):
        for seed in range(seeds):
            level = 5 + 3 * number + rng.normal(0, 2)
            for memory in (Memory(), Memory(name="chunks", forward_chunk_size=7)):
                for bucket in (60, 180):
                    shift = effect if memory.name == "chunks" else 0.0
                    values = {
                        "mc_flicker_255": level + shift + rng.normal(0, spread),
                        "motion_px": bucket / 100 + rng.normal(0, 0.05),
                        "static_video": bucket == 60 and seed == 0,
                        "flow_method": "lk",
                    }
                    job = Job(
                        image=Image(name=image, sha256=str(number)),
                        seed=seed,
                        motion_bucket_id=bucket,
                        memory=memory,
                        decode_chunk_size=14 if memory.name == "chunks" else "all",
                    )
                    rows.append(Row(job, status, values=values))
    return results(rows)


def line(table, metric, **cell):
    for name, value in {"metric": metric, **cell}.items():
        table = table[table[name] == value]
    (found,) = table.to_dict("records")
    return found


def test_a_cell_has_the_mean_spread_and_t_interval_of_its_seeds():
    frame = grid(seeds=5)
    one = line(over_seeds(frame), "motion_px", memory="baseline", motion_bucket_id=60)
    chosen = frame[(frame["memory"] == "baseline") & (frame["motion_bucket_id"] == 60)]
    values = chosen["motion_px"].astype(float)
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (one["n"], one["images"]) == (5, 1)
    assert one["mean"] == pytest.approx(values.mean())
    assert one["std"] == pytest.approx(values.std())
    assert (one["low"], one["high"]) == (pytest.approx(low), pytest.approx(high))
    assert (one["minimum"], one["maximum"]) == (values.min(), values.max())
    assert "t" in one["interval"]


def test_every_cell_of_the_grid_has_a_line_and_words_have_none():
    table = over_seeds(grid(seeds=3))
    assert len(table[table["metric"] == "motion_px"]) == 4
    assert "flow_method" not in set(table["metric"])
    assert line(table, "static_video", memory="chunks", motion_bucket_id=60)["mean"] == pytest.approx(1 / 3)


def test_seeds_and_images_are_averaged_over_and_nothing_else():
    table = over_seeds(grid(seeds=2, images=("rocket", "coffee")), ["mc_flicker_255"])
    assert set(table["n"]) == {4}
    assert set(table["images"]) == {2}
    assert "seed" not in table
    assert "image" not in table


@pytest.mark.parametrize(("n", "has"), [(1, False), (2, False), (3, True)])
def test_fewer_than_three_values_have_no_interval(n, has):
    spread = summarize(np.arange(float(n)), ["a"] * n)
    assert (spread.low is not None) is has
    assert ("none" in spread.interval) is not has
    assert (spread.std is None) == (n == 1)


def test_from_ten_values_a_bootstrap_gives_what_theory_gives():
    values = np.random.default_rng(1).normal(3, 1, 40)
    spread = summarize(values, ["a"] * 40)
    low, high = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert "bootstrap" in spread.interval
    assert (spread.low, spread.high) == (pytest.approx(low, abs=0.05), pytest.approx(high, abs=0.05))
    assert spread == summarize(values, ["a"] * 40)


def test_seeds_of_one_image_are_no_stand_in_for_images():
    """Twelve values from two images that differ: as independent values they would look far surer than they are."""
    values = np.r_[np.full(6, 1.0), np.full(6, 3.0)] + np.random.default_rng(0).normal(0, 0.01, 12)
    apart = summarize(values, ["a"] * 6 + ["b"] * 6)
    together = summarize(values, ["a"] * 12)
    assert apart.high - apart.low > 1.5 * (together.high - together.low)


def test_a_strategy_is_compared_over_the_same_image_seed_and_settings():
    frame = grid(seeds=8)
    table = paired_differences(frame, "memory", "baseline", "chunks", ["mc_flicker_255", "motion_px"])
    flicker = line(table, "mc_flicker_255")
    assert flicker["n"] == 16
    wide = frame.astype({"mc_flicker_255": float}).pivot_table(
        "mc_flicker_255", ["seed", "motion_bucket_id"], "memory"
    )
    assert flicker["mean"] == pytest.approx((wide["chunks"] - wide["baseline"]).mean())
    assert flicker["std"] < 0.5, "pairing takes the spread of the seeds out"
    assert flicker["verdict"] == "higher (worse)"
    assert line(table, "motion_px")["verdict"] == "no difference shown"


def test_the_sign_is_second_less_first():
    table = paired_differences(grid(seeds=8), "memory", "chunks", "baseline", ["mc_flicker_255"])
    assert line(table, "mc_flicker_255")["verdict"] == "lower (better)"


def test_five_pairs_show_nothing_however_clear():
    frame = grid(seeds=5)
    frame = frame[frame["motion_bucket_id"] == 60]
    one = line(
        paired_differences(frame, "memory", "baseline", "chunks", ["mc_flicker_255"]), "mc_flicker_255"
    )
    assert one["n"] == 5
    assert one["p"] == one["smallest_p"] == 0.0625
    assert one["verdict"] == "5 pairs are too few to show anything over 1 metrics"


def test_equal_pairs_are_called_equal():
    frame = grid(seeds=4, effect=0.0, spread=0.0)
    one = line(
        paired_differences(frame, "memory", "baseline", "chunks", ["mc_flicker_255"]), "mc_flicker_255"
    )
    assert one["verdict"] == "equal in every pair"
    assert one["p"] == 1


def test_jobs_without_a_partner_or_without_a_value_are_left_out():
    frame = grid(seeds=8)
    frame.loc[(frame["seed"] == 1) & (frame["memory"] == "chunks"), "status"] = "oom"
    frame.loc[(frame["seed"] == 2) & (frame["memory"] == "chunks"), "mc_flicker_255"] = pd.NA
    table = paired_differences(frame, "memory", "baseline", "chunks", ["mc_flicker_255", "motion_px"])
    assert line(table, "mc_flicker_255")["n"] == 12
    assert line(table, "motion_px")["n"] == 14


def test_without_a_pair_or_with_an_unknown_setting_it_is_one_sentence():
    frame = grid(seeds=3)
    with pytest.raises(UserError, match="no pair"):
        paired_differences(frame, "memory", "baseline", "absent")
    with pytest.raises(UserError, match="Did you mean memory"):
        paired_differences(frame, "memori", "baseline", "chunks")
    with pytest.raises(UserError, match="Did you mean motion_px"):
        over_seeds(frame, ["motion_pz"])
    with pytest.raises(UserError, match="one sweep at a time"):
        paired_differences(pd.concat([frame, frame], ignore_index=True), "memory", "baseline", "chunks")


@pytest.mark.parametrize(("pairs", "p"), [(1, 1.0), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_the_smallest_p_is_reached_when_all_differences_have_one_sign(pairs, p):
    assert smallest_p(pairs) == p
    assert signed_rank_p(np.arange(1.0, pairs + 1)) == pytest.approx(p)


def test_the_signed_rank_test_is_that_of_scipy():
    differences = np.array([0.3, -0.1, 0.7, 0.9, -0.2, 1.1, 0.4])
    assert signed_rank_p(differences) == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)


def test_holm_corrects_step_by_step():
    assert holm([0.01, 0.04, 0.03, 0.2]) == pytest.approx([0.04, 0.09, 0.09, 0.2])
    assert holm([]) == []


def test_intervals_keep_their_promise():
    """Of 300 draws of six values, the interval holds the true mean about 95 times in 100."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(300):
        spread = summarize(rng.normal(2, 1, 6), ["a"] * 6)
        held += spread.low <= 2 <= spread.high
    assert held / 300 == pytest.approx(0.95, abs=3.5 * math.sqrt(0.95 * 0.05 / 300))


@pytest.fixture
def sweep(tmp_path):
    """A folder with eight seeds of two strategies, the second a tenth of a pixel faster."""
    for seed in range(8):
        for name, shift in (("baseline", 0.0), ("model_offload", 0.1)):
            job = made_up.job(made_up.STRATEGIES[name], seed=seed)
            Store(tmp_path).append(made_up.ok(job, motion_px=1 + seed / 10 + shift, mc_flicker_255=2.0))
    return str(tmp_path)


def test_the_verb_shows_each_cell_over_its_seeds(sweep, capsys, tmp_path):
    assert main(["seeds", sweep, "--metrics", "motion_px", "--csv", str(tmp_path / "cells.csv")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[-6:] == ["metric", "n", "mean", "std", "low", "high"]
    assert [line.split()[0] for line in lines[1:]] == ["baseline", "model_offload"]
    assert {"images", "interval"} <= set(pd.read_csv(tmp_path / "cells.csv"))
    assert main(["seeds", sweep, "--metrics", "motion_px", "--json"]) == 0
    one, other = json.loads(capsys.readouterr().out)
    assert (one["n"], one["mean"]) == (8, pytest.approx(1.35))
    assert other["mean"] == pytest.approx(1.45)


def test_the_verb_pairs_two_values_of_a_setting(sweep, capsys):
    assert (
        main(
            [
                "seeds",
                sweep,
                "--pair",
                "memory=baseline,model_offload",
                "--metrics",
                "motion_px,mc_flicker_255",
            ]
        )
        == 0
    )
    motion, flicker = (line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert motion[:3] == ["motion_px", "8", "0.1"]
    assert motion[-1] == "higher"
    assert flicker[-4:] == ["equal", "in", "every", "pair"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pair", "memory=baseline,model_offloa"], "Did you mean model_offload?"),
        (["--pair", "memory=baseline"], "not of the form SETTING=A,B"),
        (["--pair", "motion_bucket=1,2"], "Did you mean motion_bucket_id?"),
        (["--metrics", "motion"], "motion is no column of this sweep"),
    ],
)
def test_the_verb_refuses_what_is_not_there(sweep, capsys, words, said):
    assert main(["seeds", sweep, *words]) == 2
    assert said in capsys.readouterr().err

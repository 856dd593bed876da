"""Statistics over seeds and images: what may be said, and what so few pairs cannot say."""

import json
import math

import made_up
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from svdsweep.analysis.files import results
from svdsweep.analysis.seeds import over_seeds, paired_differences, signed_rank_p, smallest_p, summarize
from svdsweep.cli import main
from svdsweep.config import Image, Job, Memory, Model
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
    assert one["interval"] == "95 %, Student's t"


def test_every_cell_of_the_grid_has_a_line_and_words_have_none():
    table = over_seeds(grid(seeds=3))
    assert len(table[table["metric"] == "motion_px"]) == 4
    assert "flow_method" not in set(table["metric"])
    assert line(table, "static_video", memory="chunks", motion_bucket_id=60)["mean"] == pytest.approx(1 / 3)


def test_seeds_and_images_are_averaged_over_and_nothing_else():
    frame = pd.DataFrame(
        {
            "status": ["ok"] * 6 + ["oom"],
            "image": [*"ababaaa"],
            "seed": [1, 1, 2, 2, 3, 4, 5],
            "memory": "baseline",
            "fps": [7, 7, 7, 7, None, None, 7],
            "motion_px": [1.0, 2.0, 4.0, None, 5.0, 7.0, 99.0],
            "mc_flicker_255": [None] * 4 + [1.0, 1.0, 99.0],
        }
    )
    table = over_seeds(frame)
    assert list(table)[:5] == ["fps", "metric", "n", "images", "mean"]
    seven, unknown, flicker = table.to_dict("records")
    assert (seven["fps"], seven["metric"], seven["n"], seven["images"]) == (7, "motion_px", 3, 2)
    assert (seven["mean"], seven["minimum"], seven["maximum"]) == (pytest.approx(7 / 3), 1.0, 4.0)
    assert (unknown["metric"], unknown["n"], unknown["images"], unknown["mean"]) == ("motion_px", 2, 1, 6.0)
    assert (flicker["metric"], flicker["n"], flicker["mean"]) == ("mc_flicker_255", 2, 1.0)
    alike = over_seeds(frame[frame["fps"] == 7], ["motion_px"])
    assert (next(iter(alike)), list(alike["n"])) == ("metric", [3])
    assert over_seeds(frame[::-1])["mean"].tolist() == [6.0, 1.0, pytest.approx(7 / 3)]
    assert list(over_seeds(frame[:0])) == list(alike)


@pytest.mark.parametrize(
    ("n", "interval"),
    [
        (1, "none below 3 values"),
        (2, "none below 3 values"),
        (3, "95 %, Student's t"),
        (9, "95 %, Student's t"),
        (10, "95 %, bootstrap over images and seeds"),
    ],
)
def test_an_interval_is_none_below_three_values_students_below_ten_and_then_a_bootstrap(n, interval):
    values = np.arange(float(n))
    spread = summarize(values, ["a"] * n)
    assert spread.interval == interval
    assert (spread.low is None, spread.high is None, spread.std is None) == (n < 3, n < 3, n == 1)
    if 3 <= n < 10:
        bounds = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
        assert (spread.low, spread.high) == pytest.approx(bounds)


def test_from_ten_values_a_bootstrap_gives_what_theory_gives():
    values = np.random.default_rng(1).normal(3, 1, 40)
    spread = summarize(values, ["a"] * 40)
    error = values.std() / math.sqrt(40)
    # the 2.5th percentile of 10,000 draws has a standard error of 0.027 of theirs
    assert (spread.mean - spread.low) / error == pytest.approx(1.96, abs=0.1)
    assert (spread.high - spread.mean) / error == pytest.approx(1.96, abs=0.1)
    assert spread == summarize(values, ["a"] * 40)


def test_seeds_of_one_image_are_no_stand_in_for_images():
    """One draw in 27 has the same of three images three times: more than the interval leaves out at either end."""
    values, images = np.array([1.0, *[2.0, 6.0] * 5, 6.0]), ["a", *"bc" * 5, "c"]
    apart = summarize(values, images)
    assert (apart.low, apart.high, apart.images) == (1.0, 6.0, 3)
    together = summarize(values, ["a"] * 12)
    assert apart.high - apart.low > 1.5 * (together.high - together.low)
    assert summarize(np.r_[100.0, np.zeros(11)], ["a"] * 12).high > 0, "the first value is drawn too"


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


def pairs(**differences):
    """Jobs of two strategies over seeds; each metric's second less first."""
    n = len(next(iter(differences.values())))
    common = {"status": "ok", "image": "rocket", "seed": range(n)}
    level = 10.0 + np.arange(n) ** 2
    first = pd.DataFrame({**common, "memory": "a", **dict.fromkeys(differences, level)})
    second = pd.DataFrame({**common, "memory": "b", **{m: level + d for m, d in differences.items()}})
    return pd.concat([first, second[::-1]], ignore_index=True)


EIGHT = np.array([1.0, 2, 3, 4, 5, 6, 7, 8]) / 8


def test_a_pair_of_settings_has_p_its_correction_the_smallest_p_and_a_verdict_of_each_metric():
    mixed = EIGHT * [1, 1, -1, 1, 1, -1, 1, 1]
    frame = pairs(motion_px=EIGHT, mc_flicker_255=-EIGHT, warp_psnr_db=mixed, dynamic=EIGHT * 0)
    asked = ["motion_px", "mc_flicker_255", "warp_psnr_db", "dynamic"]
    table = paired_differences(frame, "memory", "a", "b", asked)
    least = 1 / 128
    exact = stats.wilcoxon(mixed, method="exact").pvalue
    assert list(table["metric"]) == asked
    assert list(table["p"]) == pytest.approx([least, least, exact, 1.0])
    assert list(table["p_holm"]) == pytest.approx([3 * least, 3 * least, exact, 1.0])
    assert list(table["smallest_p"]) == [least] * 4
    assert list(table["mean"]) == pytest.approx([0.5625, -0.5625, mixed.mean(), 0])
    assert list(table["images"]) == [1] * 4
    assert list(table["verdict"]) == [
        "higher",
        "lower (better)",
        "no difference shown",
        "equal in every pair",
    ]
    turned = paired_differences(frame, "memory", "b", "a", ["motion_px", "mc_flicker_255", "warp_psnr_db"])
    assert list(turned["verdict"]) == ["lower", "higher (worse)", "no difference shown"]


def test_without_a_choice_every_metric_of_the_catalogue_is_compared():
    frame = pairs(motion_px=EIGHT, no_metric=EIGHT, warp_psnr_db=EIGHT)
    table = paired_differences(frame, "memory", "a", "b")
    assert set(table["metric"]) == {"motion_px", "warp_psnr_db"}
    (own,) = paired_differences(frame, "memory", "a", "b", ["no_metric"])["verdict"]
    assert own == "higher"


def test_a_p_below_five_percent_wants_an_interval_beyond_zero_too():
    frame = pairs(motion_px=np.array([0.01] * 7 + [9.0]))
    one = line(paired_differences(frame, "memory", "a", "b"), "motion_px")
    assert one["p_holm"] < 0.05
    assert one["low"] < 0 < one["high"]
    assert one["verdict"] == "no difference shown"


def test_pairs_that_can_show_one_metric_are_too_few_for_two():
    six = EIGHT[:6]
    alone = paired_differences(pairs(motion_px=six), "memory", "a", "b")
    assert list(alone["verdict"]) == ["higher"]
    both = paired_differences(pairs(motion_px=six, warp_psnr_db=six), "memory", "a", "b")
    assert set(both["verdict"]) == {"6 pairs are too few to show anything over 2 metrics"}


def test_five_pairs_show_nothing_however_clear():
    one = line(paired_differences(pairs(mc_flicker_255=EIGHT[:5]), "memory", "a", "b"), "mc_flicker_255")
    assert one["p"] == one["smallest_p"] == 0.0625
    assert one["verdict"] == "5 pairs are too few to show anything over 1 metrics"


def test_jobs_without_a_partner_or_without_a_value_are_left_out():
    frame = grid(seeds=8)
    frame.loc[(frame["seed"] == 1) & (frame["memory"] == "chunks"), "status"] = "oom"
    frame.loc[(frame["seed"] == 2) & (frame["memory"] == "chunks"), "mc_flicker_255"] = pd.NA
    table = paired_differences(frame, "memory", "baseline", "chunks", ["mc_flicker_255", "motion_px"])
    assert line(table, "mc_flicker_255")["n"] == 12
    assert line(table, "motion_px")["n"] == 14


def test_a_setting_that_another_decides_may_differ_and_one_that_it_does_not_decide_may_not():
    frame = pairs(motion_px=EIGHT)
    decided = frame.assign(fps=frame["memory"].map({"a": 7, "b": 8}))
    assert paired_differences(decided, "memory", "a", "b")["n"].tolist() == [8]
    free = decided.assign(fps=[7] * 8 + [7, 8] * 4)
    assert paired_differences(free, "memory", "a", "b")["n"].tolist() == [4]
    unset = decided.assign(fps=[7] * 8 + [7, None] * 4)
    assert paired_differences(unset, "memory", "a", "b")["n"].tolist() == [4]


@pytest.mark.parametrize("name", ["seed", "image"])
def test_images_and_seeds_of_a_pair_are_the_same_even_where_a_setting_seems_to_decide_them(name):
    frame = pairs(motion_px=EIGHT[:1])
    said = "There is no pair of finished jobs with memory=a and memory=b that are equal in all else."
    frame = frame.assign(**{name: ["1", "2"]})
    with pytest.raises(UserError) as refused:
        paired_differences(frame, "memory", "a", "b")
    assert str(refused.value) == said
    with pytest.raises(UserError, match="memory=a and memory=absent"):
        paired_differences(frame, "memory", "a", "absent")


def test_an_unknown_setting_or_metric_and_a_mixture_of_sweeps_are_one_sentence():
    frame = pairs(motion_px=EIGHT)
    with pytest.raises(UserError) as refused:
        paired_differences(frame, "memori", "a", "b")
    assert str(refused.value) == "memori is no column of this sweep. Did you mean memory?"
    with pytest.raises(UserError) as refused:
        over_seeds(frame, ["motion_px", "motion_pz"])
    assert str(refused.value) == "motion_pz is no column of this sweep. Did you mean motion_px?"
    with pytest.raises(UserError) as refused:
        paired_differences(pd.concat([frame, frame], ignore_index=True), "memory", "a", "b")
    said = "Several jobs of one setting are equal in all else: give the results of one sweep at a time."
    assert str(refused.value) == said


@pytest.mark.parametrize(("pairs", "p"), [(1, 1.0), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_the_smallest_p_is_reached_when_all_differences_have_one_sign(pairs, p):
    assert smallest_p(pairs) == p
    assert signed_rank_p(np.arange(1.0, pairs + 1)) == signed_rank_p(-np.arange(1.0, pairs + 1)) == p


@pytest.mark.parametrize("n", [7, 30])
def test_the_signed_rank_test_is_that_of_scipy(n):
    differences = np.random.default_rng(n).normal(0.4, 1, n)
    exact = stats.wilcoxon(differences, method="exact").pvalue
    assert signed_rank_p(differences) == pytest.approx(exact)
    assert signed_rank_p(np.r_[0.0, differences, 0.0]) == pytest.approx(exact)


def test_ties_share_their_ranks_and_nothing_but_equal_pairs_shows_nothing():
    for tied in (np.array([1.0, 1, -1, 2, 2, 3]), np.array([1.0, -1, 2, 2, -3, 3, 4])):
        exact = stats.wilcoxon(tied, method=stats.PermutationMethod()).pvalue
        assert signed_rank_p(tied) == signed_rank_p(-tied) == exact
    assert signed_rank_p(np.array([2.0, -2.0])) == signed_rank_p(np.zeros(5)) == signed_rank_p(tied[:0]) == 1


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


@pytest.fixture
def two_models(tmp_path, monkeypatch):
    """A sweep of two checkpoints of one name and two pictures of one name, one of them with a comma."""
    monkeypatch.chdir(tmp_path)
    for k, (where, folder) in enumerate((w, f) for w in "ab" for f in ("x", "y,z")):
        for seed in range(3):
            image = Image("1", f"{folder}/1.png", folder * 8)
            job = Job(Model("svd", str(tmp_path / "ckpt" / where), revision=where), image, seed)
            Store(tmp_path).append(Row(job, "ok", values={"motion_px": 1.0 + k}))
    return "."


def test_cells_are_of_one_model_and_images_are_told_apart(two_models, capsys):
    assert main(["seeds", two_models, "--metrics", "motion_px", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert [(c["model"], c["n"], c["images"], c["mean"]) for c in cells] == [
        ("svd+source=a", 6, 2, 1.5),
        ("svd+source=b", 6, 2, 3.5),
    ]


@pytest.mark.parametrize(
    ("words", "difference"),
    [
        ("model.source=ckpt/a,ckpt/b", 2.0),
        ("model.source=b,a", -2.0),
        ("model=svd+source=a,svd+source=b", 2.0),
    ],
)
def test_two_checkpoints_are_a_pair_by_path_by_its_end_or_by_label(two_models, capsys, words, difference):
    assert main(["seeds", two_models, "--metrics", "motion_px", "--json", "--pair", words]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["n"], line["mean"]) == (6, difference)


def test_a_value_with_a_comma_is_found(two_models, capsys):
    assert main(["seeds", two_models, "--metrics", "motion_px", "--json", "--pair", "image=x/1,y,z/1"]) == 0
    (line,) = json.loads(capsys.readouterr().out)
    assert (line["n"], line["mean"]) == (6, 1.0)
    assert main(["seeds", two_models, "--pair", "image=x/1,y/1"]) == 2
    assert "No job of this sweep has image=y/1: there are x/1, y,z/1." in capsys.readouterr().err


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

"""What a pick is by, as one types it."""

import pytest

from svdsweep.config import Job, Metrics
from svdsweep.errors import UserError
from svdsweep.search.bounds import Bound, aim_of, bound_of, value_of
from svdsweep.store.rows import Row

JOB = Job()


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("1..3", Bound("motion_px", 1, 3)),
        ("1.5..", Bound("motion_px", 1.5, None)),
        ("..3e1", Bound("motion_px", None, 30)),
        ("-1..-.5", Bound("motion_px", -1, -0.5)),
    ],
)
def test_a_bound_is_two_ends_of_which_one_may_be_missing(text, bound):
    assert bound_of("--motion-px", text, JOB) == bound


@pytest.mark.parametrize("text", [None, "", "3", "..", "3..1", "a..b", "nan..3", "1..2..3"])
def test_what_is_no_bound_is_refused_with_an_example(text):
    with pytest.raises(UserError, match=r"--motion-px 1\.\.3"):
        bound_of("--motion-px", text, JOB)


def test_the_excess_is_what_lies_beyond_either_end():
    bound = Bound("motion_px", 1, 3)
    assert [bound.excess(v) for v in (0.5, 1, 2, 3, 5)] == [0.5, 0, 0, 0, 2]
    assert bound.excess(None) == float("inf")
    assert str(bound) == "motion_px 1..3"


def test_the_catalogue_says_which_end_is_better_or_the_user_does():
    assert not aim_of("mc_flicker_255", None, JOB).higher
    assert not aim_of("mc-flicker-255", None, JOB).higher
    assert aim_of("mc_flicker_255", "higher", JOB).higher
    with pytest.raises(UserError, match="--prefer higher or --prefer lower"):
        aim_of("adj_psnr_db", None, JOB)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("adj_psnr", "Did you mean adj_psnr_db"),
        ("first_lpips", "family lpips.*metrics=full"),
        ("psnr_to_baseline_db", "a pick runs none"),
        ("seed", "no column seed"),
    ],
)
def test_a_column_that_the_jobs_will_not_have_is_refused(name, told):
    with pytest.raises(UserError, match=told):
        aim_of(name, "higher", JOB)


def test_a_metric_of_a_family_that_is_asked_for_is_there():
    assert aim_of("first_lpips", None, Job(metrics=Metrics(families=["lpips"]))).column.unit is not None


@pytest.mark.parametrize("value", [None, float("nan"), "text"])
def test_only_finite_numbers_of_runs_that_ended_well_count(value):
    assert value_of(Row(JOB, "ok", values={"motion_px": value}), "motion_px") is None
    assert value_of(Row(JOB, "defective", values={"motion_px": 1.0}), "motion_px") is None
    assert value_of(Row(JOB, "ok", values={"motion_px": 2}), "motion_px") == 2.0

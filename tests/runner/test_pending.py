"""What is still to be done, and which rows come from other machines."""

from dataclasses import replace

import fakes
import pytest

from svdsweep.config import Runner
from svdsweep.errors import UserError
from svdsweep.runner.pending import from_other_machines, pending
from svdsweep.store.rows import STATUSES, Row, last_rows


@pytest.mark.parametrize("status", STATUSES)
def test_findings_are_done_and_faults_are_tried_up_to_the_attempts(status):
    job = fakes.job()
    for attempt in (1, 2, 3, 4):
        again = pending([job], {job.key: Row(job, status, attempt)}, Runner(attempts=3))
        assert bool(again) == (status in ("failed", "crashed", "timeout") and attempt < 3)


@pytest.mark.parametrize("status", STATUSES)
def test_retry_names_statuses_and_fresh_runs_all(status):
    job = fakes.job()
    rows = {job.key: Row(job, status, attempt=9)}
    assert pending([job], rows, Runner(retry=[status])) == [job]
    assert pending([job], rows, Runner(fresh=True)) == [job]


def test_a_status_that_does_not_exist_is_refused():
    with pytest.raises(UserError) as refused:
        pending([], {}, Runner(retry=["ok", "ooms"]))
    assert str(refused.value) == (
        "runner.retry=ooms is not a status: allowed are ok, defective, oom, failed, crashed, timeout, rejected. "
        "Did you mean oom?"
    )


def test_a_job_that_is_asked_for_twice_runs_once():
    jobs = [fakes.job(1), fakes.job(1), fakes.job(3), fakes.job(2)]
    assert [job.seed for job in pending(jobs, {}, Runner())] == [1, 3, 2]


def test_only_the_job_decides_not_its_labels():
    done = fakes.job(1, "one name")
    assert pending([fakes.job(1, "another")], {done.key: Row(done, "ok")}, Runner()) == []
    assert len(pending([replace(done, motion_bucket_id=3)], {done.key: Row(done, "ok")}, Runner())) == 1


def test_of_several_rows_of_a_key_the_last_attempt_counts_whatever_the_order():
    job = fakes.job()
    crashed, ok, again = Row(job, "crashed", 1), Row(job, "ok", 2), Row(job, "crashed", 2)
    for rows in ([crashed, ok], [ok, crashed], [ok, again], [again, ok]):
        assert last_rows(rows)[job.key] is ok


def test_rows_of_another_gpu_torch_or_diffusers_come_from_other_machines_and_unknown_ones_do_not():
    here = {"gpu": "A", "torch": "2.6", "diffusers": "0.40"}
    mine = Row(fakes.job(), "ok", provenance={**here, "host": "elsewhere"})
    others = [replace(mine, provenance={**here, name: "other"}) for name in here]
    unknown = [replace(mine, provenance={**here, name: None}) for name in here]
    assert from_other_machines([mine, *others, *unknown, replace(mine, provenance={})], here) == others
    assert from_other_machines(others, dict.fromkeys(here)) == []

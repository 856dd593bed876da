"""How long a simulated GPU waits for the framework; `tests/performance/waiting.py` measures it at full size."""

import pytest
import sleeping_gpu
from running import cpu, sweep

from svdsweep.grid.expand import expand


def waited_s(folder, **options):
    """Seconds between two runs of a second each, of a worker that judges small videos in about half a second."""
    size = ["num_frames=8", "height=128", "width=256"]
    jobs = expand(["decode_chunk_size=1,2,3,4,5", "measure.share_latents=false", *size]).jobs
    rows = sweep(folder, list(jobs), cpu(workers=1, **options), load=sleeping_gpu.load)
    assert [row.status for row in rows] == ["ok"] * 5
    idle_s, _ = sleeping_gpu.waited(folder)
    return idle_s / 4


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_gpu_does_not_wait_for_the_judging_of_its_last_job(folder, monkeypatch):
    monkeypatch.setenv(sleeping_gpu.SECONDS, "1")
    (folder / "beside").mkdir()
    (folder / "between").mkdir()
    beside_s = waited_s(folder / "beside")
    between_s = waited_s(folder / "between", judge_beside=False)
    assert beside_s < between_s / 3, (beside_s, between_s)  # 0.04 s and 1.1 s where they were measured

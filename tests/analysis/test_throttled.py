"""A sweep whose GPU was slowed down says so on its page, and one at full clock says nothing."""

from dataclasses import replace

import made_up

from svdsweep.analysis.throttled import throttled_of_sweep
from svdsweep.report.page import gather

OFFLOAD = made_up.job(made_up.STRATEGIES["model_offload"])
FULL_CLOCK = {"throttled_pct": 0.4, "throttled_s": 0.04, "throttle": "power cap"}
SLOWED = {"throttled_pct": 31.0, "throttled_s": 3.1, "throttle": "power cap, hardware thermal"}


def test_a_page_names_what_was_slowed_down_by_what_and_for_how_long():
    jobs = [made_up.job(), OFFLOAD, replace(OFFLOAD, seed=1)]
    provenance = {"gpu": "A card", "gpu_persistence_mode": "off", "pcie_width_max": 16}
    values = (FULL_CLOCK, SLOWED, {"throttle": "software thermal"})
    rows = [made_up.ok(job, provenance=provenance, **told) for job, told in zip(jobs, values, strict=True)]
    sweep = made_up.in_memory(*rows)
    [sentence] = throttled_of_sweep(sweep)
    assert sentence.startswith(
        "the GPU was slowed down for up to 31 % of the time in 2 of 3 jobs (power cap, hardware thermal, software "
        "thermal), under model_offload: "
    )
    page = gather(sweep)
    assert sentence in page.said
    assert "throttled_pct" in page.columns
    assert {"gpu_persistence_mode": ["off"], "pcie_width_max": ["16"]}.items() <= dict(
        page.environment
    ).items()


def test_moments_at_the_power_cap_and_processors_are_not_worth_a_word():
    for values in (FULL_CLOCK, {}, {"throttle": None}):
        sweep = made_up.in_memory(made_up.ok(made_up.job(), **values))
        assert throttled_of_sweep(sweep) == []
        assert "throttled_pct" not in gather(sweep).columns

"""The memory that a GPU held over a run, by a stand-in for its allocator's counter; no GPU has seen this yet."""

from collections.abc import Iterator

import gpus
import pytest
import torch
from torch import nn

from svdsweep.probes.over_time import OverTime, looking

Levels = Iterator[int]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[OverTime, nn.Module]]:
    """A look at a made-up card that holds 1, 2, 3 … GiB at each look."""
    levels = iter(range(1, 10_000))
    unet = nn.Sequential(nn.Identity(), nn.Identity())
    with gpus.computing(monkeypatch, "cuda") as device:
        over_time = OverTime(device, unet, [0, 2])
        nested = lambda _: {"allocated_bytes": {"all": {"peak": next(levels) * gpus.GIB}}}  # noqa: E731
        monkeypatch.setattr(torch.cuda, "memory_stats_as_nested_dict", nested, raising=False)
        yield over_time, unet


def test_each_stage_and_each_turn_that_is_told_has_its_own_curve(seen: tuple[OverTime, nn.Module]) -> None:
    over_time, unet = seen
    encoder, x = nn.Identity(), torch.zeros(1)
    with looking(over_time):
        over_time.enter("image_encode")
        encoder(x)
        over_time.enter("vae_encode")
        encoder(x)
        over_time.enter("denoise")
        for _ in range(4):
            unet(x)
        over_time.enter("vae_decode")
        encoder(x)
    encoder(x)  # not looked at
    assert over_time.series() == {
        "image_encode_over_time_gib": [[1.0, 2.0]],
        "vae_encode_over_time_gib": [[3.0, 4.0]],
        "denoise_over_time_gib": [[5.0, 6.0, 7.0], [8.0, 9.0, 10.0]],
        "vae_decode_over_time_gib": [[11.0, 12.0]],
    }
    assert over_time.peak_gib == 12.0


def test_a_long_stage_is_thinned_and_keeps_its_highest_moment(seen: tuple[OverTime, nn.Module]) -> None:
    over_time, unet = seen
    with looking(over_time):
        over_time.enter("vae_decode")
        for _ in range(500):
            unet[0](torch.zeros(1))  # type: ignore[index]
    (curve,) = over_time.series()["vae_decode_over_time_gib"]
    assert (len(curve), curve[-1]) == (80, 501.0)


def test_nothing_stays_hooked_where_the_run_fails(seen: tuple[OverTime, nn.Module]) -> None:
    hooks = torch.nn.modules.module._global_forward_hooks
    with pytest.raises(ValueError, match="no"), looking(seen[0]):
        raise ValueError("no")
    assert not hooks

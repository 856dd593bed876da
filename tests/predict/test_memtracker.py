"""PyTorch's own tracker counts the same bytes."""

import pytest
from report_memtracker import CHUNKS, ours, pytorchs


@pytest.mark.slow
@pytest.mark.parametrize("chunk", CHUNKS["tiny"])
def test_memtracker_sees_the_same_peak_of_the_unet_to_the_byte(chunk: int | None) -> None:
    assert ours("tiny", chunk) == pytorchs("tiny", chunk)


@pytest.mark.by_hand
@pytest.mark.parametrize("chunk", CHUNKS["svd_xt"])
def test_memtracker_sees_the_same_peak_of_svd_xts_unet_to_the_byte(chunk: int | None) -> None:
    assert ours("svd_xt", chunk) == pytorchs("svd_xt", chunk)

"""launch_ahead: the loop asks the device for no value, and the frames stay the same bit by bit."""

import traceback
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

VALUE = torch.ops.aten._local_scalar_dense.default
STEPS = 2
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8))


class Asking(TorchDispatchMode):
    """Counts how often the pipeline asks a tensor for its value: on a GPU it would wait for that."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is VALUE:
            last = [f for f in traceback.extract_stack() if "diffusers" in f.filename][-1]
            self.asked += "pipeline" in last.filename  # schedulers keep their numbers on the host
        return func(*args, **(kwargs or {}))


def run(pipe: Any, scale: float = 2.0) -> Any:
    return pipe(
        PICTURE,
        height=32,
        width=48,
        num_frames=2,
        num_inference_steps=STEPS,
        min_guidance_scale=1.0,
        max_guidance_scale=scale,
        generator=torch.Generator().manual_seed(0),
        output_type="np",
    ).frames


def test_a_run_asks_once_and_diffusers_twice_a_step(pipe: Any, prepared: Any) -> None:
    with Asking() as often:
        expected = run(pipe)
    assert often.asked == 2 * STEPS
    prepared(launch_ahead=True)
    with Asking() as once:
        frames = run(pipe)
    assert once.asked == 1
    assert np.array_equal(frames, expected)


@pytest.mark.parametrize("scales", [(1.0, 2.0, 1.0), (2.0, 1.0)])
def test_every_run_looks_at_its_own_guidance(pipe: Any, prepared: Any, scales: tuple[float, ...]) -> None:
    expected = {scale: run(pipe, scale) for scale in set(scales)}
    prepared(launch_ahead=True)
    for scale in scales:
        assert np.array_equal(run(pipe, scale), expected[scale])
    assert not np.array_equal(expected[1.0], expected[2.0])

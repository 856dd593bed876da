"""Which attention kernel is fastest for each shape of SVD-XT's UNet, here: what attention=measured chooses from.

    python tests/performance/attention.py [--out FOLDER]

On a GPU the whole batch in float16; on the CPU in float32 a part of it, for a forward of SVD-XT takes an hour there."""

import published
import torch

from svdsweep.memory.measured_attention import KERNELS, choose

VIDEOS, FRAMES, HEAD = 2, 25, 64
LEVELS = ((9216, 5), (2304, 10), (576, 20), (144, 20))
"""Places of the picture and heads, from the finest level on; 576×1024, guided."""
CPU_SCORES = 2**27
"""Of one call on the CPU: about a second."""


def shapes() -> list[tuple[str, int, int, int]]:
    """Kind, batch, heads and tokens of every attention of a layer to itself."""
    spatial = [("spatial", VIDEOS * FRAMES, heads, places) for places, heads in LEVELS]
    return spatial + [("temporal", VIDEOS * places, heads, FRAMES) for places, heads in LEVELS]


def timed(kind: str, batch: int, heads: int, tokens: int, device: torch.device) -> dict[str, object]:
    """A row of the table."""
    on_gpu = device.type == "cuda"
    part = batch if on_gpu else max(1, min(batch, CPU_SCORES // (heads * tokens**2)))
    q, k, v = (
        torch.randn(
            part, tokens, heads * HEAD, device=device, dtype=torch.float16 if on_gpu else torch.float32
        )
        .unflatten(-1, (heads, HEAD))
        .transpose(1, 2)
        for _ in range(3)
    )
    choice = choose(q, k, v)
    return {
        "attention": kind,
        "tokens": tokens,
        "heads": heads,
        "batch": part,
        "of": batch,
        **{f"{name}, ms": choice.ms.get(name) for name in KERNELS},
        "chosen": choice.kernel,
    }


def main() -> None:
    """Print and publish the table."""
    asked = published.options(__doc__).parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "one core of the CPU"
    with torch.inference_mode():
        rows = [timed(*shape, device) for shape in shapes()]
    published.publish(
        asked.out,
        "attention",
        "Attention kernels for each shape of SVD-XT",
        f"Median of 5, {where}; – for a kernel that this device lacks, or that would hold more beyond query, key, "
        "value and result than these take. `eager`: plain products and a softmax, a head at a time.",
        rows,
    )


if __name__ == "__main__":
    main()

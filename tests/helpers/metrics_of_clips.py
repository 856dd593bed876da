"""`python tests/helpers/metrics_of_clips.py [HEIGHT WIDTH FRAMES]`: what each metric says of each clip, as Markdown."""

import sys

import torch
from clips import Surface, catalogue

from svdsweep.metrics import Context, score

COLUMNS = (
    *(
        "adj_mae_255",
        "adj_psnr_db",
        "adj_ssim",
        "motion_px",
        "flow_coverage",
        "flow_accel_px",
        "mc_flicker_255",
    ),
    *("luma_flicker_255", "warp_psnr_db", "color_drift_de", "sharpness_drift_db", "seam_ratio"),
)
FAMILIES = ["temporal", "motion", "fidelity", "seams", "defects"]


def main() -> None:
    height, width, count = (int(a) for a in sys.argv[1:4]) if len(sys.argv) > 3 else (64, 64, 14)
    torch.set_num_threads(1)
    for texture in ("smooth", "textured"):
        print(f"\n{texture}, {count} × {height} × {width}\n")
        print("| clip | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 1))
        for name, clip in catalogue(Surface(texture, (height, width)), count).items():
            frames = clip.frames
            context = Context(image=frames[0], decode_chunk_size=5)
            values = score(frames, context, FAMILIES).values
            cells = ["" if (v := values[c]) is None else f"{v:.3g}" for c in COLUMNS]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

"""Numbers of a row that need no unit, or no entry in the catalogue of columns, on purpose."""

from svdsweep.store.columns import STAGES

PURE_NUMBERS = {
    *("adj_ssim", "dynamic", "first_ssim", "image_ssim_drift", "static_video", "seam_flagged"),
    *("seam_placebo_ratio", "seam_rank", "seam_ratio"),
}
"""Ratios, ranks and answers of yes or no: they have an entry, and no unit."""
OUTSIDE_THE_CATALOGUE = {
    *(
        "loads",
        "decode_frames",
        "denoise_steps",
        "guided",
        "fps_id",
        "repeats",
        "cpu_cores",
        "threads",
        "cudnn",
    ),
    *("host_ram_gib", "tf32_matmul", "judge_s", "idle_s", "noise_floor_psnr_db", "other_processes"),
    *("total_s_median_low", "total_s_median_high", "total_s_min", "total_s_max", "total_s_geometric_mean"),
    *("vram_device_gib", "sm_clock_mhz", "memory_clock_mhz", "temperature_c"),
    *("clocks_held", "pcie_generation", "pcie_width"),
    *(f"{stage}_vram_reserved_peak_gib" for stage in STAGES),
}
"""What was counted, what the machine is and what a row keeps for those who look closer: no table or plot shows it."""

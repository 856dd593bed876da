"""Kernels are told apart by the names that libraries, PyTorch and inductor give them; time is counted once."""

import pytest
from profile_step import OTHER, busy_us, kind_of


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4>>", "attention"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_3_128x128x64", "attention"),
        ("fmha_cutlassF_f16_aligned_64x128_rf_sm80", "attention"),
        ("sm90_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x128x64", "convolution"),
        ("void cutlass__5x_cudnn::Kernel<cutlass_tensorop_f16_s16816fprop_optimized_f16>", "convolution"),
        ("void cudnn::ops::nchwToNhwcKernel<__half, __half, float, false, true>", "turning frames over"),
        ("nvjet_hsh_192x192_64x4_1x2_h_bz_coopB_TNT", "matrix products"),
        ("sm90_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1", "matrix products"),
        ("triton_tem_fused_addmm_mm_12", "matrix products"),
        ("triton_poi_fused_convolution_native_group_norm_silu_3", OTHER),
        ("triton_red_fused_convolution_native_group_norm_7", "normalisation"),
        ("triton_per_fused_add_native_layer_norm_2", "normalisation"),
        ("void at::native::RowwiseMomentsCUDAKernel<c10::Half>", "normalisation"),
        ("void at::native::elementwise_kernel<128, 4, direct_copy_kernel_cuda>", "copies"),
        ("Memcpy HtoD (Pinned -> Device)", "copies"),
        ("void at::native::vectorized_elementwise_kernel<4, CUDAFunctor_add<c10::Half>>", OTHER),
        ("aten::mkldnn_convolution", "convolution"),
        ("aten::addmm", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
    ],
)
def test_kinds(kernel: str, kind: str) -> None:
    assert kind_of(kernel) == kind


def test_time_in_which_two_kernels_run_is_counted_once() -> None:
    assert busy_us([(0, 2), (1, 3), (5, 6), (5, 5.5)]) == 4

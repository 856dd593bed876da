"""What inductor makes of a step of SVD-XT's UNet and of its decode: kernels, what they read and write, and how it lies.

    python tests/performance/compiled.py [--model svd_xt]

Needs no GPU: the graphs are traced with tensors without data and lowered for an H200, up to the code that nothing here
could run. It reaches into PyTorch's private parts, and may have to follow them."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import published
import torch
from torch._dynamo.device_interface import CudaInterface
from torch._inductor import config as inductor
from torch._inductor.debug import DebugContext
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.fx_passes import joint_graph, post_grad
from torch._inductor.graph import GraphLowering
from torch._inductor.memory import prepare_planning_info
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.stateless import _reparametrize_module
from torch.utils._ordered_set import OrderedSet

from svdsweep.config import Job, Memory
from svdsweep.grid.expand import expand
from svdsweep.memory.apply import prepare
from svdsweep.memory.norms_by_channel import apply as sum_channels
from svdsweep.predict.batch import predictions
from svdsweep.predict.fake_gpu import fake_gpu, materialize
from svdsweep.predict.prediction import GIB
from svdsweep.predict.simulate import DEVICE, on_meta_pipeline, quiet

NORMS = "norms_by_channel"
"""A knob of what is compiled, which here is lowered by hand."""
STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("baseline", {}),
    ("+ single token", {"single_token_cross_attention": True}),
    ("+ fused QKV", {"fused_qkv": True}),
    ("+ channels-last", {"channels_last": True}),
    ("+ convolutions over time in 2-D", {"temporal_conv2d": True}),
    ("+ norms by channel", {NORMS: True}),
    ("+ products in fp8", {"unet_weights": "fp8_products"}),
)
"""Settings, one added at a time; all but the last are exact."""
H200 = SimpleNamespace(
    name="NVIDIA H200",
    major=9,
    minor=0,
    multi_processor_count=132,
    regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    warp_size=32,
    shared_memory_per_block_optin=232448,
    L2_cache_size=50 * 2**20,
    total_memory=141 * 10**9,
)
KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm"),
    "convolutions": ("convolution",),
    "attention": ("attention",),
}
"""By words in the names of what inductor leaves to libraries; all else is kernels of its own."""


@dataclass
class Made:
    """What a graph became: (kernels, GiB) of each kind; GiB of frames that convolutions are fed, or answer, channel by
    channel, and their number; GiB of tensors alive at the peak, beside weights."""

    kinds: dict[str, tuple[int, float]]
    turned: int = 0
    turned_gib: float = 0.0
    peak_gib: float = 0.0


@contextlib.contextmanager
def an_h200() -> Iterator[None]:
    """PyTorch is told of an H200, and asks it for nothing."""
    answers: Sequence[tuple[Any, str, Any]] = (
        (torch.cuda, "is_available", lambda: True),
        (torch.cuda, "_lazy_init", lambda: None),
        (torch.cuda, "device_count", lambda: 1),
        (torch.cuda, "current_device", lambda: 0),
        (torch.cuda, "get_device_properties", lambda *_: H200),
        (torch.cuda, "get_device_capability", lambda *_: (9, 0)),
        (torch.cuda, "get_device_name", lambda *_: H200.name),
        (CudaInterface, "is_available", staticmethod(lambda: True)),
        (CudaInterface, "get_compute_capability", staticmethod(lambda *_: 90)),
        (CudaInterface, "get_device_properties", staticmethod(lambda *_: H200)),
        (CudaInterface, "get_multi_processor_count", staticmethod(lambda *_: H200.multi_processor_count)),
        (CudaInterface.Worker, "get_device_properties", staticmethod(lambda *_: H200)),
        (FakeTensor, "is_pinned", lambda *_: False),
        # patterns are found by tensors with data; none of them is in these graphs
        (joint_graph, "lazy_init", lambda *_: None),
        (post_grad, "lazy_init", lambda *_: None),
    )
    with contextlib.ExitStack() as stack:
        for owner, name, answer in answers:
            stack.enter_context(mock.patch.object(owner, name, answer, create=True))
        stack.enter_context(inductor.patch(joint_graph_constant_folding=False))
        yield


def made(network: torch.nn.Module, run: Callable[..., Any], *inputs: torch.Tensor) -> Made:
    """Lower `run(*inputs)`, a forward of `network`."""
    held = {**dict(network.named_parameters()), **dict(network.named_buffers())}

    def forward(*flat: torch.Tensor) -> Any:
        with _reparametrize_module(network, dict(zip(held, flat, strict=False))):
            return run(*flat[len(held) :])

    flat = [*(tensor.detach() for tensor in held.values()), *inputs]
    graph = make_fx(forward, decomposition_table=select_decomp_table())(*flat)
    post_grad.view_to_reshape(graph)
    joint_graph.joint_graph_passes(graph)
    with V.set_fake_mode(flat[0].fake_mode):  # type: ignore[attr-defined]
        post_grad.post_grad_passes(graph, is_inference=True)
        lowered = GraphLowering(graph, is_inference=True)
        with DebugContext(), V.set_graph_handler(lowered), V.set_real_inputs(flat):
            lowered.run(*flat)
            lowered.init_wrapper_code()
            lowered._update_scheduler()
            return _counted(lowered)


def _counted(graph: Any) -> Made:
    found = Made(dict.fromkeys((*KINDS, "other"), (0, 0.0)))
    scheduler = graph.scheduler
    inputs, outputs = OrderedSet(graph.graph_inputs), OrderedSet(graph.get_output_names())
    peak, _ = prepare_planning_info(
        scheduler.nodes, scheduler.name_to_buf, scheduler.name_to_fused_node, inputs, outputs
    )
    found.peak_gib = peak / GIB
    for node in scheduler.nodes:
        kind = _kind(node)
        count, gib = found.kinds[kind]
        moved = node.get_read_write_buffers_sizes() / GIB
        found.kinds[kind] = count + bool(moved), gib + moved
        if kind == "convolutions":
            frames = [graph.get_buffer(node.node.get_name()), node.node.inputs[0]]
            turned = [_gib(x) for x in frames if _channel_by_channel(x)]
            found.turned += bool(turned)
            found.turned_gib += sum(turned)
    return found


def _kind(node: Any) -> str:
    if not node.is_extern():
        return "other"
    name = str(getattr(node.node, "python_kernel_name", None) or getattr(node.node, "op_overload", ""))
    words = name.replace(".", "_").split("_")
    return next((kind for kind, of in KINDS.items() if any(word in words for word in of)), "other")


def _channel_by_channel(x: Any) -> bool:
    sizes, strides = ([int(v) for v in values] for values in (x.get_size(), x.get_stride()))
    return sizes[1] > 1 and max(sizes[2:]) > 1 and strides[1] != 1


def _gib(x: Any) -> float:
    return float(torch.Size([int(v) for v in x.get_size()]).numel() * x.get_dtype().itemsize / GIB)


def lowered(job: Job, knobs: dict[str, Any]) -> tuple[Made, Made]:
    """One step of the UNet and the decode of all frames."""
    pipe = on_meta_pipeline(job.model.architecture)
    with quiet(), fake_gpu(lambda _: None), an_h200():
        for network in (pipe.unet, pipe.vae, pipe.image_encoder):
            materialize(network, torch.float16)
        by_channel = knobs.get(NORMS, False)
        prepare(pipe, Memory(**{name: value for name, value in knobs.items() if name != NORMS}), DEVICE)
        if by_channel:
            sum_channels(pipe, Memory(compile="whole", compile_vae=True), DEVICE)

        def empty(*shape: int) -> torch.Tensor:
            return torch.empty(shape, device=DEVICE, dtype=torch.float16)

        frames, places = job.num_frames, (job.height // 8, job.width // 8)
        unet = made(
            pipe.unet,
            lambda x, t, embedding, ids: pipe.unet(x, t, embedding, ids, return_dict=False)[0],
            empty(2, frames, pipe.unet.config.in_channels, *places),
            torch.empty((), device=DEVICE),
            empty(2, 1, pipe.unet.config.cross_attention_dim),
            empty(2, 3),
        )
        decoder = made(
            pipe.vae.decoder,
            lambda z, image_only: pipe.vae.decoder(z, image_only, num_frames=frames),
            empty(frames, pipe.vae.config.latent_channels, *places),
            empty(1, frames),
        )
    return unet, decoder


def row(part: str, settings: str, gib: float, peak_gib: float, found: Made | None) -> dict[str, object]:
    """Of the table; without `found`, not compiled."""
    return {
        "part": part,
        "settings": settings,
        "GiB": gib,
        "alive at the peak, GiB": peak_gib,
        **{
            f"{kind}, {unit}": found and found.kinds[kind][place]
            for kind in (*KINDS, "other")
            for place, unit in enumerate(("kernels", "GiB"))
        },
        "convolutions fed channel by channel": found and found.turned,
        "frames so, GiB": found and found.turned_gib,
    }


def rows(job: Job) -> Iterator[dict[str, object]]:
    """Of the table: without a compiler, as predicted, then compiled."""
    (summary,) = predictions([job], compute=True).values()
    assert summary
    stages = {"UNet, a step": (summary.stages["denoise"], job.num_inference_steps)}
    stages["decode"] = summary.stages["vae_decode"], 1
    for part, (stage, times) in stages.items():
        alive_gib = stage.peak_gib - stage.weights_gib
        yield row(part, "baseline, not compiled", stage.moved_gib / times, alive_gib, None)
    knobs: dict[str, Any] = {}
    for name, more in STEPS:
        knobs |= more
        for part, found in zip(stages, lowered(job, knobs), strict=True):
            yield row(part, name, sum(gib for _, gib in found.kinds.values()), found.peak_gib, found)


def main() -> None:
    """Print and publish the table."""
    parser = published.options(__doc__)
    parser.add_argument("--model", default="svd_xt")
    asked = parser.parse_args()
    (job,) = expand([f"model={asked.model}", "model.weights=random", "memory=baseline"]).jobs
    published.publish(
        asked.out,
        "compiled",
        "What the compiler makes of SVD",
        f"{job.model.name}, {job.num_frames} frames of {job.height}×{job.width}, float16, guided; settings added one "
        "at a time, whole graphs, lowered by inductor for an H200 without one. GiB: read and written by each kernel, "
        "once a tensor. Alive at the peak: tensors beside weights. `Other` kernels are inductor's own: norms, "
        "activations, sums. Frames that a convolution is fed or answers channel by channel are turned over by cuDNN "
        "before and after its kernel: read and written once more, which no column counts. No time was measured.",
        sorted(rows(job), key=lambda row: row["part"] != "UNet, a step"),
    )


if __name__ == "__main__":
    main()

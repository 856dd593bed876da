"""The attention kernel of each layer by measurement: a forward before the first of a new shape times every kernel that
works here on the layer's own query, key and value, and the fastest stays.

Spatial attention of SVD-XT has 9,216 tokens in 50 batches, temporal attention 25 tokens in 18,432: no one kernel is
made for both. What was chosen is a constant of the layer, so that a compiled graph holds no choice."""

import functools
import random
import statistics
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import sdpa_kernel

from svdsweep.backends import backend_of
from svdsweep.config import Job, Memory
from svdsweep.memory.attention import SDPA, attention_layers, is_plain
from svdsweep.memory.contract import unless_all
from svdsweep.memory.per_run import is_guided

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
DEFAULT = "default"
REPEATS = 5
AT_ONCE = 5
"""Calls that are timed together on a GPU, so that they follow one another without a gap."""
FASTER_BY = 0.03
"""Only a kernel that needs so much less time takes the place of PyTorch's own choice; less is noise."""
AGREEMENT = 0.02
"""Largest difference from PyTorch's own choice, as a share of the largest value, that half precision explains."""


def products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention by plain matrix products and a softmax in the dtype of `q` (B, H, L, d), one head at a time: a head's
    batch needs no copy for a product, and only its scores are in memory."""
    heads, alpha = [], q.shape[-1] ** -0.5
    for head in range(q.shape[1]):
        scores = q.new_empty(q.shape[0], q.shape[2], k.shape[2])
        scores = torch.baddbmm(scores, q[:, head], k[:, head].transpose(1, 2), beta=0, alpha=alpha)
        heads.append(torch.bmm(scores.softmax(-1), v[:, head]))
    return torch.stack(heads, 2).transpose(1, 2)


def _by(name: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    with sdpa_kernel(SDPA[name]):
        return F.scaled_dot_product_attention(q, k, v)


KERNELS: dict[str, Attend] = {
    DEFAULT: lambda q, k, v: F.scaled_dot_product_attention(q, k, v),
    **{name: functools.partial(_by, name) for name in SDPA},
    "eager": products,
}


@dataclass(frozen=True)
class Choice:
    """The kernel of a layer, the milliseconds of each that was tried, and the sizes that it was tried on; `note` says
    why no other was tried, if so."""

    kernel: str
    ms: dict[str, float]
    sizes: str
    note: str = ""

    def __str__(self) -> str:
        others = ", ".join(f"{name} {ms:.3g}" for name, ms in self.ms.items() if name != self.kernel)
        return f"attention, {self.sizes}: {self.kernel} {self.ms[self.kernel]:.3g} ms ({others or self.note})"


class MeasuredProcessor:
    """An attention processor that runs `kernel`; while it is `choosing`, it chooses that first."""

    def __init__(self, choices: "Choices") -> None:
        self.choices = choices
        self.kernel = DEFAULT
        self.choosing = False
        self.choice: Choice | None = None

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        """(B, L, C) and a context (B, K, c), or none for attention to itself → (B, L, C)."""
        q, k, v = _projected(attn, hidden_states, encoder_hidden_states)
        if self.choosing:
            self.choosing = False  # a layer that runs in parts chooses by the first, which is the largest
            self.choice = self.choices.of(q, k, v)
            self.kernel = self.choice.kernel
        out: Tensor = attn.to_out[0](KERNELS[self.kernel](q, k, v).transpose(1, 2).flatten(2))
        return out


class Choices:
    """The kernels chosen for the layers of a UNet, by the shape of the UNet's sample."""

    def __init__(self, count: int) -> None:
        self.processors = [MeasuredProcessor(self) for _ in range(count)]
        self.timed: dict[tuple[Any, ...], Choice] = {}
        self.by_shape: dict[tuple[int, ...], list[Choice | None]] = {}
        self.settled: tuple[int, ...] | None = None

    def of(self, q: Tensor, k: Tensor, v: Tensor) -> Choice:
        """The choice for a layer's query, key and value; those of one shape are timed once."""
        kind = (q.shape, k.shape, q.stride(), q.dtype)
        if kind not in self.timed:
            self.timed[kind] = choose(q, k, v)
        return self.timed[kind]

    def settle(self, shape: tuple[int, ...], forward: Callable[[], Any]) -> None:
        """Give every layer its kernel for a sample's shape; for a new one by an uncompiled `forward`."""
        if shape not in self.by_shape:
            self.settled = None
            for processor in self.processors:
                processor.kernel, processor.choosing, processor.choice = DEFAULT, True, None
            with torch.compiler.set_stance("force_eager"):
                forward()
            self.by_shape[shape] = [processor.choice for processor in self.processors]
        if shape != self.settled:
            for processor, choice in zip(self.processors, self.by_shape[shape], strict=True):
                processor.kernel = choice.kernel if choice else DEFAULT
                processor.choosing = False
            self.settled = shape


def apply(pipe: Any, memory: Memory, device: torch.device) -> None:
    """Give every attention layer of the UNet a `MeasuredProcessor`, and choose before the first forward of a shape.

    Apply it after compiling. Raises ValueError where a layer does more than plain attention."""
    layers = attention_layers(pipe.unet)
    if not all(is_plain(layer) for layer in layers):
        raise ValueError("attention=measured: this model's attention does more than attend")
    pipe.attention_choices = Choices(len(layers))
    for layer, processor in zip(layers, pipe.attention_choices.processors, strict=True):
        layer.set_processor(processor)
    forward = pipe.unet.forward

    @functools.wraps(forward)
    def settled(sample: Tensor, *args: Any, **kwargs: Any) -> Any:
        pipe.attention_choices.settle(tuple(sample.shape), lambda: forward(sample, *args, **kwargs))
        return forward(sample, *args, **kwargs)

    pipe.unet.forward = settled


def check(pipe: Any, memory: Memory, device: torch.device) -> str | None:
    """Why layers run with a kernel that was not chosen, else None; known only after a run."""
    layers = attention_layers(pipe.unet)
    plain = [layer for layer in layers if not isinstance(layer.processor, MeasuredProcessor)]
    if reason := unless_all(layers, plain, "layers kept their processor"):
        return reason
    return None if pipe.attention_choices.by_shape else "no forward has chosen"


def kernels_chosen(pipe: Any, job: Job) -> list[str]:
    """Notes on a job that has run: which kernels were chosen and by how much, a line for each shape of attention."""
    choices = getattr(pipe, "attention_choices", None)
    if choices is None:
        return []
    videos = 2 if is_guided(job) and not job.memory.split_guidance else 1
    places = job.height // pipe.vae_scale_factor, job.width // pipe.vae_scale_factor
    shape = (videos, job.num_frames, pipe.unet.config.in_channels, *places)
    return list(dict.fromkeys(str(choice) for choice in choices.by_shape.get(shape, []) if choice))


def choose(q: Tensor, k: Tensor, v: Tensor) -> Choice:
    """Time the kernels that work on (B, H, L, d) and take the fastest; PyTorch's own choice unless one is clearly
    faster, or where that answers with values that are not finite, for then no other can be held against it. Raises
    torch.OutOfMemoryError where PyTorch's own choice does not fit; another that does not is left out."""
    expected = KERNELS[DEFAULT](q, k, v)
    comparable = bool(torch.isfinite(expected).all())
    bound = bound_bytes(q, k)
    working = [
        name
        for name, kernel in KERNELS.items()
        if name == DEFAULT
        or (comparable and extra_bytes(name, q, k) <= bound and _works(kernel, q, k, v, expected))
    ]
    del expected
    runs = {name: functools.partial(KERNELS[name], q, k, v) for name in working}
    ms = {name: s * 1e3 for name, s in seconds(runs, q.device).items()}
    best = min(ms, key=lambda name: ms[name])
    batch, heads, length, size = q.shape
    return Choice(
        best if ms[best] < (1 - FASTER_BY) * ms[DEFAULT] else DEFAULT,
        ms,
        f"{length} tokens to {k.shape[2]}, {heads} heads of {size}, {batch:,} at once",
        "no other works here" if comparable else "others not tried: its values are not finite",
    )


def extra_bytes(name: str, q: Tensor, k: Tensor) -> int:
    """What a kernel holds beyond query, key, value and result (B, H, L, d): scores before and after the softmax, of all
    heads with PyTorch's `math`, which computes in float32 and copies what is not, of one head with `eager`."""
    batch, heads, length, _ = q.shape
    scores = batch * heads * length * k.shape[2]
    if name == "math":
        copies = 2 * q.numel() + 2 * k.numel() if q.element_size() < 4 else 0
        return max(4, q.element_size()) * (2 * scores + q.numel() + k.numel() + copies)
    return q.element_size() * (2 * scores // heads + q.numel()) if name == "eager" else 0


def bound_bytes(q: Tensor, k: Tensor) -> int:
    """What a kernel may hold beyond query, key, value and result: as much again. 4 GiB of scores are never tried."""
    return q.element_size() * 2 * (q.numel() + k.numel())


def _projected(attn: Any, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value as views (B, H, L, d) of what the layer's projections answer."""
    if not attn.fused_projections:
        context = x if context is None else context
        flat = attn.to_q(x), attn.to_k(context), attn.to_v(context)
    elif context is None:
        flat = attn.to_qkv(x).chunk(3, -1)
    else:
        flat = attn.to_q(x), *attn.to_kv(context).chunk(2, -1)
    q, k, v = (t.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for t in flat)
    return q, k, v


def _works(kernel: Attend, q: Tensor, k: Tensor, v: Tensor, expected: Tensor) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns at length where a kernel is not available
            answer = kernel(q, k, v)
            return bool((answer - expected).abs().max() <= AGREEMENT * expected.abs().max())
    except RuntimeError:
        return False


def seconds(runs: Mapping[str, Callable[[], Any]], device: torch.device) -> dict[str, float]:
    """The median seconds of each run over rounds of all of them, so that a clock that changes is fair to each. Every
    round has another order: after a kernel that draws more power the clock is slower (by 5 % on an H200 at its cap)."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    order, shuffled = list(runs), random.Random(0)  # noqa: S311 (no secret)
    for _ in range(REPEATS):
        shuffled.shuffle(order)
        for name in order:
            spent[name].append(_timed(runs[name], device))
    return {name: statistics.median(times) for name, times in spent.items()}


def _timed(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds of a run after one that is not counted, in which libraries load and caches are filled; on a GPU by
    events, of several that follow one another."""
    backend, times = backend_of(device), 1 if device.type == "cpu" else AT_ONCE
    run()
    backend.synchronize(device)
    begin = backend.mark(device)
    for _ in range(times):
        run()
    end = backend.mark(device)
    backend.synchronize(device)
    return backend.seconds(begin, end) / times

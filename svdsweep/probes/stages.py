"""When each stage of a run ends and how often each network is called, by hooks alone: nothing in diffusers is patched.

A stage lasts from the end of the one before to its own end, so that transfers between hooks count too."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from svdsweep.backends import backend_of
from svdsweep.probes.throttling import Seen
from svdsweep.probes.vram import Peak, read_peak, reset_peak
from svdsweep.store.columns import STAGES

SUM_WITHIN, SLACK_S = 0.02, 0.01
"""The stages' times must add up to the total within this share and these seconds, which a busy host may take away."""

Report = Callable[[str, float | None], None]


class ProbeFault(RuntimeError):
    """Raised when the probes cannot have seen a whole run: a stage was never entered, or the steps were miscounted."""


class Clock:
    """A device's own time: events on a GPU's current stream, without a synchronisation between the marks; the host's
    monotonic clock on the CPU, where work is done when the call returns."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.backend = device, backend_of(device)

    def mark(self) -> Any:
        """A point in time, or in the work of the stream."""
        return self.backend.mark(self.device)

    def seconds(self, begin: Any, end: Any) -> float:
        """The seconds from one mark to a later one, once `settle` was called."""
        return self.backend.seconds(begin, end)

    def settle(self) -> None:
        """Wait until all marks are in the past."""
        self.backend.synchronize(self.device)


@dataclass(frozen=True)
class Timing:
    """One run: seconds of the whole and of each stage and step, peaks of device memory by stage, calls by network."""

    total_s: float
    stage_s: dict[str, float]
    step_s: list[float]
    peaks: dict[str, Peak | None]
    calls: dict[str, int] = field(default_factory=dict)
    seen: Seen | None = None
    """What happened to the GPU; None where no driver was asked, and of untimed runs."""


class StageProbe:
    """Hooks on a pipeline for a `with` block: call `start` before a run, give it `step` as its callback, `finish` it.

    A scheduler may go round the loop more often than once a step (`turns`), and `unet_calls` are expected; both are as
    many as the steps where nothing is said. With `decode_only` the run is a decode of given latents: no other stage is
    expected."""

    def __init__(
        self,
        pipe: Any,
        device: torch.device,
        report: Report,
        steps: int,
        decode_only: bool = False,
        turns: int | None = None,
        unet_calls: int | None = None,
    ) -> None:
        self.pipe, self.device, self.report = pipe, device, report
        self.steps, self.decode_only = steps, decode_only
        self.turns = steps if turns is None else turns
        self.unet_calls = self.turns if unet_calls is None else unet_calls
        self.turns_a_step = -(-self.turns // steps) if steps else 1
        self.clock = Clock(device)
        self.hooks = ExitStack()

    def __enter__(self) -> "StageProbe":
        vae = self.pipe.vae
        handles = [
            self.pipe.image_encoder.register_forward_hook(self._after_image_encoder),
            vae.encoder.register_forward_hook(partial(self._count, "vae_encoder")),
            self.pipe.unet.register_forward_pre_hook(self._before_unet),
            vae.decoder.register_forward_hook(partial(self._count, "vae_decoder")),
        ]
        for handle in handles:
            self.hooks.callback(handle.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self.hooks.close()

    def start(self) -> None:
        """Begin a run; everything of an earlier one is forgotten."""
        self.ends: dict[str, Any] = {}
        self.step_ends: list[Any] = []
        self.peaks: dict[str, Peak | None] = {}
        self.calls = dict.fromkeys(("image_encoder", "vae_encoder", "unet", "vae_decoder"), 0)
        self.latents: torch.Tensor | None = None
        self.clock.settle()
        reset_peak(self.device)
        self.report("vae_decode" if self.decode_only else "image_encode", None)
        self.began_s = time.perf_counter()
        self.begin = self.clock.mark()

    def step(self, _pipe: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """diffusers' `callback_on_step_end`, called each turn of the loop: one mark a step; after the last the latents
        are remembered."""
        last = index == self.turns - 1
        if last or (index + 1) % self.turns_a_step == 0:
            self.step_ends.append(self.clock.mark())
        if last:
            self.latents = tensors["latents"]
            self._leave("denoise", self.step_ends[-1], "vae_decode")
        return {}

    def finish(self) -> Timing:
        """End the run and tell its times. Raises ProbeFault when they cannot be those of a whole run."""
        self._leave("vae_decode", self.clock.mark(), "")
        self.clock.settle()
        total_s = time.perf_counter() - self.began_s
        self._check_calls()
        stages = STAGES[-1:] if self.decode_only else STAGES
        begins = [self.begin, *(self.ends[stage] for stage in stages[:-1])]
        seconds = self.clock.seconds
        stage_s = {stage: seconds(a, self.ends[stage]) for a, stage in zip(begins, stages, strict=True)}
        step_begins = [self.ends["vae_encode"], *self.step_ends[:-1]] if self.step_ends else []
        step_s = [seconds(a, b) for a, b in zip(step_begins, self.step_ends, strict=True)]
        if abs(sum(stage_s.values()) - total_s) > SUM_WITHIN * total_s + SLACK_S:
            raise ProbeFault(
                f"the stages add up to {sum(stage_s.values()):.4f} s, but the run took {total_s:.4f} s: more than "
                f"{SUM_WITHIN:.0%} apart"
            )
        return Timing(total_s, stage_s, step_s, self.peaks, dict(self.calls))

    def _after_image_encoder(self, *_: Any) -> None:
        self.calls["image_encoder"] += 1
        self._leave("image_encode", self.clock.mark(), "vae_encode")

    def _before_unet(self, *_: Any) -> None:
        self.calls["unet"] += 1
        if self.calls["unet"] == 1:
            self._leave("vae_encode", self.clock.mark(), "denoise")

    def _count(self, network: str, *_: Any) -> None:
        self.calls[network] += 1

    def _leave(self, stage: str, mark: Any, following: str) -> None:
        self.ends[stage] = mark
        peak = self.peaks[stage] = read_peak(self.device)
        reset_peak(self.device)
        if following:
            self.report(following, peak.allocated_gib if peak else None)

    def _check_calls(self) -> None:
        once = 0 if self.decode_only else 1
        expected = {"image_encoder": once, "vae_encoder": once, "unet": once * self.unet_calls}
        counted = [(name, self.calls[name], n) for name, n in expected.items()]
        wrong = [f"{name} {calls} times, not {n}" for name, calls, n in counted if calls != n]
        if not self.calls["vae_decoder"]:
            wrong.append("the VAE's decoder never")
        if len(self.step_ends) != once * self.steps:
            wrong.append(f"{len(self.step_ends)} step times for {once * self.steps} steps")
        if wrong:
            raise ProbeFault(f"the run is not what it seems: it called {'; '.join(wrong)}")


def hooks_on(pipe: Any) -> int:
    """How many forward hooks PyTorch has on a pipeline's modules: a job must leave as many as it met."""
    networks = (pipe.unet, pipe.vae, pipe.image_encoder)
    modules = (m for network in networks for m in network.modules())
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)

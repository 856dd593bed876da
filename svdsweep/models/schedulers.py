"""diffusers' schedulers as SVD's UNet needs them: v-prediction at timesteps of 0.25·log sigma and any falling noise
levels (Karras et al. 2022, arXiv:2206.00364, with sigma_data = 1).

diffusers' own, but for Euler's and EDM's, look timesteps up in a table of 1000 levels that ends at sigma 14.6."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from diffusers import (
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LMSDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers.scheduling_edm_euler import EDMEulerSchedulerOutput
from diffusers.utils.torch_utils import randn_tensor

from svdsweep.errors import UserError

EDM = {"sigma_data": 1.0, "prediction_type": "v_prediction"}
VP = {"beta_schedule": "scaled_linear", "prediction_type": "v_prediction"}


class Continuous:
    """What the classes below have in common; it stands before diffusers' class among the bases.

    They compute in float32, and go through given noise levels, or through those of `own`, SVD's scheduler."""

    own: Any = None
    noise: torch.Generator | None = None
    """Where an ancestral scheduler draws: the generator of the run, so that its seed decides all of it."""
    draws = False

    @property
    def init_noise_sigma(self) -> torch.Tensor:
        """What noise of variance 1 is multiplied by at the beginning, as SVD's own scheduler does it."""
        return (self.sigmas[0] ** 2 + 1) ** 0.5

    @init_noise_sigma.setter
    def init_noise_sigma(self, value: float) -> None:
        """Nothing: some of diffusers' classes set 1 when they are made."""

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        *table: Any,
        sigmas: list[float] | None = None,
    ) -> None:
        """Begin a run through `sigmas`, the last of which is its end, or through `num_inference_steps` of `own`."""
        parent: Any = super()
        if (
            sigmas is None and self.own is None
        ):  # some classes fill themselves with their own table when they are made
            parent.set_timesteps(num_inference_steps, device, *table)
            return
        if sigmas is None:
            self.own.set_timesteps(num_inference_steps)
            sigmas = self.own.sigmas
        levels = torch.as_tensor(sigmas, dtype=torch.float32)
        parent.set_timesteps(len(levels) - 1, "cpu")
        self.timesteps = (0.25 * self.place(levels).log()).to(device)
        self._begin_index = 0  # to look it up would wait for the GPU

    def place(self, levels: torch.Tensor) -> torch.Tensor:
        """Put the levels (steps + 1) where the class looks for them; returns the level of each call of the UNet."""
        self.sigmas = levels
        return levels[:-1]

    def step(self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, **more: Any) -> Any:
        """diffusers' step, in float32, with noise of the run's generator."""
        if self.draws:
            more["generator"] = self.noise
        parent: Any = super()
        made = parent.step(model_output.float(), timestep, sample.float(), **more)
        made.prev_sample = made.prev_sample.to(model_output.dtype)
        return made


class EulerAncestral(Continuous, EulerAncestralDiscreteScheduler):  # type: ignore[misc]
    """Euler steps to below the next level, and fresh noise up to it (k-diffusion's sample_euler_ancestral)."""

    draws = True


class Heun(Continuous, HeunDiscreteScheduler):  # type: ignore[misc]
    """Euler's step corrected by the slope at its end (Karras et al. 2022, algorithm 1 without churn)."""

    def place(self, levels: torch.Tensor) -> torch.Tensor:
        """Each level but the ends is met twice."""
        self.sigmas = torch.cat([levels[:1], levels[1:-1].repeat_interleave(2), levels[-1:]])
        return self.sigmas[:-1]


class DPM2(Continuous, KDPM2DiscreteScheduler):  # type: ignore[misc]
    """A step by the slope at the geometric mean of its ends (Lu et al. 2022, DPM-Solver-2)."""

    def place(self, levels: torch.Tensor) -> torch.Tensor:
        """Between two levels the middle is met."""
        middles = (levels[:-1] * levels[1:]).sqrt()
        self.sigmas = torch.cat([levels[:1], levels[1:].repeat_interleave(2), levels[-1:]])
        self.sigmas_interpol = torch.cat([levels[:1], middles.repeat_interleave(2), levels[-1:]])
        self.sigmas_interpol[len(self.sigmas) - 3 :] = levels[-1]  # the last step is Euler's
        return torch.stack([levels[:-1], middles], 1).flatten()[:-1]

    def _sigma_to_t(self, sigma: Any, log_sigmas: Any) -> float:
        return 0.0  # `set_timesteps` tells the times; to look up those of the class's table takes a second


class DPMpp2M(Continuous, EDMDPMSolverMultistepScheduler):  # type: ignore[misc]
    """DPM-Solver++ of the second order from the step before (Lu et al. 2022, arXiv:2211.01095), also as an SDE."""

    draws = True


class UniPC(Continuous, UniPCMultistepScheduler):  # type: ignore[misc]
    """A predictor, corrected by the next call of the UNet (Zhao et al. 2023, arXiv:2302.04867).

    diffusers' class keeps the latents' variance at 1; here they are as noisy as in all others."""

    def scale_model_input(self, sample: torch.Tensor, timestep: Any) -> torch.Tensor:
        """What the UNet is shown: latents of variance 1."""
        return sample / (self.sigmas[self._step_index or 0] ** 2 + 1) ** 0.5

    def _sigma_to_alpha_sigma_t(self, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.ones(()), sigma

    def convert_model_output(self, model_output: torch.Tensor, *_: Any, sample: torch.Tensor) -> torch.Tensor:
        """The denoised video from a v-prediction."""
        squared = self.sigmas[self._step_index] ** 2
        return sample / (squared + 1) - model_output * (squared / (squared + 1)) ** 0.5


class LMS(Continuous, LMSDiscreteScheduler):  # type: ignore[misc]
    """Adams-Bashforth: a polynomial through the slopes of the last four steps (k-diffusion's sample_lms)."""


class EDMEuler(Continuous, EDMEulerScheduler):  # type: ignore[misc]
    """Euler's method in EDM's form: equal to `euler` up to rounding."""


class AnimateLCM(EDMEuler):
    """Multistep consistency sampling: the denoised video, and fresh noise up to the next level (Song et al. 2023,
    arXiv:2303.01469, algorithm 1), as AnimateLCM-SVD's scheduler does (MIT, github.com/G-U-N/AnimateLCM)."""

    def step(self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, **more: Any) -> Any:
        """From the denoised video to the next level; one with a last level of 0 ends without noise."""
        now, following = self.sigmas[self._step_index], self.sigmas[self._step_index + 1]
        denoised = self.precondition_outputs(sample.float(), model_output.float(), now)
        noise = randn_tensor(denoised.shape, self.noise, denoised.device, denoised.dtype)
        self._step_index += 1
        return EDMEulerSchedulerOutput(prev_sample=(denoised + following * noise).to(model_output.dtype))


MADE: dict[str, tuple[Any, dict[str, Any]]] = {
    "euler_ancestral": (EulerAncestral, VP),
    "heun": (Heun, VP),
    "dpm2": (DPM2, VP),
    "dpmpp_2m": (DPMpp2M, EDM),
    "dpmpp_2m_sde": (DPMpp2M, {**EDM, "algorithm_type": "sde-dpmsolver++"}),
    "unipc": (UniPC, VP),
    "lms": (LMS, VP),
    "edm_euler": (EDMEuler, EDM),
    "animatelcm": (AnimateLCM, EDM),
}
"""Class and config of each scheduler but `euler`, which is the model's own as it is."""


@contextlib.contextmanager
def scheduled(pipe: Any, name: str, noise: torch.Generator) -> Iterator[None]:
    """A pipeline with another scheduler for a `with` block, which goes through the levels of its own and draws from
    `noise`. Raises UserError where something has put another in the place of SVD's."""
    own = pipe.scheduler
    if name == "euler":
        yield
        return
    if not isinstance(own, EulerDiscreteScheduler):
        raise UserError(
            f"model.scheduler={name} takes the place of SVD's scheduler, and something (memory.extra?) has put a "
            f"{type(own).__name__} there: leave one of the two out."
        )
    kind, config = MADE[name]
    pipe.scheduler = kind(**config)
    pipe.scheduler.own, pipe.scheduler.noise = copy.deepcopy(own), noise
    try:
        yield
    finally:
        pipe.scheduler = own

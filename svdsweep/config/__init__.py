"""The schema: what a job, a memory strategy and a runner are made of; every setting with its range, unit and help."""

from svdsweep.config.job import Job, job_from
from svdsweep.config.memory import PER_RUN, Memory
from svdsweep.config.parts import Gpu, Image, Measure, Metrics, Model
from svdsweep.config.root import Config
from svdsweep.config.runner import Ray, Runner, Slurm

__all__ = ["PER_RUN", "Config", "Gpu", "Image", "Job", "Measure", "Memory", "Metrics", "Model"]
__all__ += ["Ray", "Runner", "Slurm", "job_from"]

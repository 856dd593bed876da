"""Where jobs run and what happens when they fail: settings of the sweep, which no job knows."""

from dataclasses import dataclass, field

from svdsweep.config.rules import Checked, knob

TRACKERS = ("mlflow", "wandb", "tensorboard")
"""Where rows can be exported to while a sweep runs."""


@dataclass(frozen=True)
class Slurm(Checked):
    """What each task of the array asks of SLURM under runner=slurm; what is not set is left to the cluster."""

    shards: int = knob(
        4, "Tasks of the array: so many allocations share the jobs, each runs the local pool.", low=1
    )
    partition: str | None = knob(None, "Partition to submit to.")
    account: str | None = knob(None, "Account to charge.")
    qos: str | None = knob(None, "Quality of service.")
    constraint: str | None = knob(None, "Features that the nodes must have, such as `h100`.")
    gres: str | None = knob("gpu:1", "Generic resources of a task; null for none.")
    time_min: int = knob(
        240, "Time limit of a task; jobs that it cuts off run when SLURM requeues it.", unit="min", low=1
    )
    cpus_per_task: int = knob(4, "CPU cores of a task.", low=1)
    mem_gib: int | None = knob(None, "Host memory of a task.", unit="GiB", low=1)
    container: str | None = knob(None, "Container image (pyxis): passed to srun as --container-image.")
    setup: list[str] = knob([], "Shell lines before the task, such as `module load cuda`.")
    requeues: int = knob(
        10, "How often a task that ran out of its time is queued again; preemption does not count.", low=0
    )
    signal_s: int = knob(90, "How long before its end a task is warned, to be requeued.", unit="s", low=1)
    poll_s: float = knob(
        5.0,
        "How often the driver looks at the row files; the queue is asked six times less.",
        unit="s",
        low=0.1,
    )


@dataclass(frozen=True)
class Ray(Checked):
    """Where runner=ray finds its machines."""

    address: str | None = knob(
        None,
        "`auto` or HEAD:6379 joins a cluster; not set, Ray starts on this machine and ends with the sweep.",
    )
    actors: int | None = knob(
        None, "Workers at most; not set: as many as the cluster has room for, also as machines join.", low=1
    )
    gpus_per_actor: float = knob(1.0, "GPUs of an actor; 0 runs on the CPU.", low=0, high=1)
    cpus_per_actor: float = knob(1.0, "CPU cores of an actor, also its threads.", low=0)


@dataclass(frozen=True)
class Runner(Checked):
    """Where jobs run and what happens when they fail. Not part of a job: it changes no result."""

    name: str = knob("local", "The engine.", words=("local", "slurm", "ray"))
    devices: str = knob(
        "auto",
        "`auto` (every GPU, else the CPU), `cpu`, or GPUs by index, UUID or MIG name, or as torch spells them: "
        "`0,1,3`, `cuda:0`, `xpu`, `mps`.",
    )
    workers_per_device: int = knob(
        1, "Processes that share the CPU, each with its part of the cores; a GPU is never shared.", low=1
    )
    isolation: str = knob(
        "device",
        "How long a process lives: for all jobs of its device, for those of equal settings, or for one job.",
        words=("device", "settings", "job"),
    )
    timeout_s: float | None = knob(
        None, "A job without an answer for this long is killed.", unit="s", low=0.1
    )
    start_timeout_s: float = knob(
        600.0, "A process that is not ready for this long counts as a failed start.", unit="s", low=1
    )
    attempts: int = knob(
        3, "How often a failed, crashed or timed-out job is tried in all, over repeated runs.", low=1
    )
    retry: list[str] = knob(
        [], "Statuses to try again whatever the attempts, also final ones: `[oom]`, `[failed,crashed]`."
    )
    fresh: bool = knob(False, "Run every job again, also finished ones; the new rows replace the old.")
    skip_predicted_oom: bool = knob(
        False, "Jobs that cannot fit by prediction become `rejected` rows with the figure, without running."
    )
    judge_beside: bool = knob(
        True,
        "A GPU begins its next job while the frames of the last are judged on the CPU: all of a job that is timed once "
        "(`measure=quick`), else what comes before its timed runs.",
    )
    preview: bool = knob(
        False,
        "A small picture of each running job after every step, drawn by `svdsweep watch`: in runs that are not timed, "
        "and in the one run of a job that is timed once (`measure=quick`), whose row says so.",
    )
    order_seed: int | None = knob(
        None,
        "Seed of the order of strategies in the rounds of measure=rigorous; not set: drawn anew, and in each row.",
        low=0,
        high=2**32 - 1,
    )
    fail_fast: bool = knob(False, "Stop the sweep at the first failed, crashed or timed-out job.")
    claim_stale_s: float = knob(
        60.0,
        "A job claimed by another driver that has given no sign of life for this long is taken over.",
        unit="s",
        low=1,
    )
    export: str | None = knob(
        None,
        "A tracker that gets each row when it is stored; `svdsweep export` brings them there later.",
        words=TRACKERS,
    )
    export_into: str | None = knob(
        None, "The folder of that tracker, or MLflow's tracking URI; not set: `export/` beside the sweep."
    )
    slurm: Slurm = field(default_factory=Slurm)
    ray: Ray = field(default_factory=Ray)

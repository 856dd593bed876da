"""Which job a worker does next: what it has loaded, else what lets all workers end together."""

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence

from svdsweep.config import Job
from svdsweep.memory.per_run import unet_calls_of

ALL = ""
"""What was learnt from all groups together stands under this name."""
Turn = Callable[[str, bool], float]
"""The place in a round of a group, by its pipeline key and whether it has baselines."""


def cost(job: Job) -> float:
    """Work of a job in arbitrary units, known before anything ran: UNet calls × frames × pixels, twice if guided."""
    guided = 2 if job.max_guidance_scale > 1 else 1
    runs = job.measure.warmup + job.measure.repeats
    return float(unet_calls_of(job) * job.num_frames * job.height * job.width * guided * runs)


class Scheduler:
    """The jobs to give out, in groups of equal pipeline settings, with the seconds that they take as they are learnt.

    A worker is any hashable name. Groups with baselines come first, then the longest (in rounds: as their `turn` says);
    a worker stays with its group; when no group is left untouched it helps where that ends sooner, counting the load
    that it costs."""

    def __init__(self, jobs: Sequence[Job] = ()) -> None:
        self._at: dict[str, str] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self._units: dict[str, float] = defaultdict(float)
        self._loads: list[float] = []
        self.begin(jobs)

    def begin(self, jobs: Sequence[Job], turn: Turn | None = None) -> None:
        """Give out these jobs from now on: nothing is left of those before, what was learnt from them stays.

        With a `turn` no worker goes on with what it has loaded before that has its turn."""
        if turn:
            self._at.clear()
        baselines = {job.baseline for job in jobs if job.baseline}
        groups: dict[str, list[Job]] = defaultdict(list)
        for job in jobs:
            groups[job.pipeline_key].append(job)
        leading = {job.pipeline_key for job in jobs if job.key in baselines}
        self._cost = {key: sum(map(cost, members)) for key, members in groups.items()}

        def place(key: str) -> tuple[float, float]:
            first = key not in leading
            return (turn(key, not first), 0.0) if turn else (first, -self._cost[key])

        self._todo = {
            key: deque(sorted(groups[key], key=lambda job: (job.key not in baselines, -cost(job))))
            for key in sorted(groups, key=place)
        }

    def __len__(self) -> int:
        return sum(map(len, self._todo.values()))

    def take(self, worker: str, idle_s: float = 0.0) -> Job | None:
        """The next job of a worker that has idled so long; None when there is none, or none that it would not delay.

        An estimate may be wrong: who has idled for as long as its help would cost helps after all."""
        if not self._todo:
            return None
        group: str | None = self._at.get(worker)
        if group not in self._todo:
            self.leave(worker)
            group = self._other(idle_s)
            if group is None:
                return None
            self._at[worker] = group
        jobs = self._todo[group]
        job = jobs.popleft()
        if not jobs:
            del self._todo[group]
        self._cost[group] -= cost(job)
        return job

    def put_back(self, job: Job) -> None:
        """Take back a job that was taken and not begun: it is the next of its group."""
        self._todo.setdefault(job.pipeline_key, deque()).appendleft(job)
        self._cost[job.pipeline_key] += cost(job)

    def leave(self, worker: str) -> None:
        """Note that a worker no longer has anything loaded."""
        self._at.pop(worker, None)

    def learn(self, job: Job, seconds: float, load_s: float = 0.0) -> None:
        """Learn that a job took so long, of which `load_s` to load its pipeline."""
        for group in (job.pipeline_key, ALL):
            self._seconds[group] += max(seconds - load_s, 0.0)
            self._units[group] += cost(job)
        if load_s > 0:
            self._loads.append(load_s)

    def clear(self) -> None:
        """Give up all jobs that nobody has taken."""
        self._todo.clear()
        self._cost = dict.fromkeys(self._cost, 0.0)

    def left_s(self, workers: int, under_way: Iterable[Job]) -> float | None:
        """Estimated seconds until all is done by so many workers; None until something has been learnt."""
        work = [(group, self._cost[group]) for group in self._todo]
        work += [(job.pipeline_key, cost(job) / 2) for job in under_way]
        if not self._units[ALL]:
            return None
        return sum(units * (self._rate(group) or 0.0) for group, units in work) / max(workers, 1)

    def _rate(self, group: str) -> float | None:
        """The seconds that a unit of cost takes, as learnt from this group, else from all together."""
        learnt = group if self._units[group] else ALL
        return self._seconds[learnt] / self._units[learnt] if self._units[learnt] else None

    def _other(self, idle_s: float) -> str | None:
        helpers = Counter(self._at.values())
        for group in self._todo:
            if group not in helpers:
                return group
        group = max(self._todo, key=lambda g: self._cost[g] * (self._rate(g) or 1.0) / helpers[g])
        rate = self._rate(group)
        if rate is None or not self._loads:
            return group
        load_s = sum(self._loads) / len(self._loads)
        ends_without = self._cost[group] * rate / helpers[group]
        ends_with = load_s + cost(self._todo[group][0]) * rate / 2
        return group if ends_with < ends_without + idle_s else None

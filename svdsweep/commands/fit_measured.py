"""`svdsweep fit --measure`: the best few run under a cap of the card's size, and told whether memory and time hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from svdsweep.errors import UserError
from svdsweep.grid.expand import expand
from svdsweep.predict.search import Candidate, Wish
from svdsweep.probes.devices import discover
from svdsweep.store.rows import Row, Store


@dataclass(frozen=True)
class Measured:
    """A combination, how its run ended, and what it took; None is not known."""

    candidate: Candidate
    status: str
    peak_gib: float | None
    seconds: float | None
    seconds_wished: float | None

    @property
    def in_time(self) -> bool | None:
        """Whether the time holds; None where none was wished for or measured."""
        return self.seconds <= self.seconds_wished if self.seconds and self.seconds_wished else None

    @property
    def holds(self) -> bool:
        """Whether memory and time hold; the memory does where the run came to its end under the cap."""
        return self.status == "ok" and bool(self.in_time)

    @property
    def above_floor(self) -> float | None:
        """How many times its floor of latency it took."""
        return self.seconds / self.candidate.floor_s if self.seconds and self.candidate.floor_s else None

    def plain(self) -> dict[str, Any]:
        """The same, as JSON has it."""
        return {
            "command": self.candidate.command,
            "status": self.status,
            "vram_gib": self.peak_gib,
            "total_s": self.seconds,
            "memory_holds": self.status == "ok",
            "time_holds": self.in_time,
        }

    def __str__(self) -> str:
        c = self.candidate
        told = f"{self.peak_gib:.2f} GiB measured" if self.peak_gib else "no peak measured"
        said = f"{self.status}: {told}, {c.prediction.peak_gib:.2f} GiB predicted"
        if self.seconds and self.seconds_wished:
            held = "in time" if self.in_time else "too slow"
            said += f"; {self.seconds:.1f} s measured, {held}, {c.floor_s:.1f} s at least by prediction"
        return f"{said}: {c.command}"


def need_a_gpu() -> None:
    """Raise UserError where there is none."""
    if discover("auto") == ["cpu"]:
        raise UserError("--measure needs a GPU, and there is none here; without it, fit predicts.")


def measure(wish: Wish, best: Sequence[Candidate], seconds: float | None) -> tuple[int, list[Measured]]:
    """Run some combinations under a cap of the card's size, and print what each took beside `seconds`; the exit code
    with it."""
    from svdsweep.commands.run import run

    code, outcomes = 0, []
    for c in best:
        settings = [*c.settings, f"gpu.memory_limit_gib={wish.vram_gib:g}", f"name=fit-{wish.vram_gib:g}gb"]
        code = max(code, run(settings, wish.config_dir))
        grid = expand(settings, wish.config_dir)
        outcomes.append(_of_row(c, Store(grid.folder).rows().get(grid.jobs[0].key), seconds))
        print(outcomes[-1])
    return code, outcomes


def _of_row(c: Candidate, row: Row | None, seconds: float | None) -> Measured:
    def number(name: str) -> float | None:
        value = row.values.get(name) if row else None
        return value if isinstance(value, float) else None

    status = row.status if row else "no row"
    return Measured(c, status, number("vram_allocated_peak_gib"), number("total_s"), seconds)


def tighter(outcomes: Sequence[Measured], seconds: float) -> float | None:
    """The seconds to search floors for, so that a run takes no more than `seconds`: as many times fewer as these took
    above theirs. None where one holds already, or none was too slow."""
    above = [o.above_floor for o in outcomes if o.above_floor and o.in_time is False]
    return None if not above or any(o.holds for o in outcomes) else seconds / min(above)


def verdict(wish: Wish, outcomes: Sequence[Measured], seconds: float) -> str:
    """Which of the measured ones holds both, the one that keeps most."""
    within = f"{wish.vram_gib:g} GiB and {seconds:g} s"
    held = next((o for o in outcomes if o.holds), None)
    if held:
        return f"Measured, within {within}: {held.candidate.command}"
    times = [o.seconds for o in outcomes if o.seconds and o.status == "ok"]
    fastest = f"; the fastest took {min(times):.1f} s" if times else ""
    return f"Measured, none of these is within {within}{fastest}."

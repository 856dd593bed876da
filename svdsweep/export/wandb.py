"""Weights & Biases: a project a sweep, a run a row, offline; `wandb sync` sends what one wants to send."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svdsweep.export.contract import Entry, Origin
from svdsweep.export.ledger import Ledger, safe

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run

LONGEST_LABEL = 64
SYNCED = "*.synced"
"""What `wandb sync` leaves beside a run that was sent."""


def connect(origin: Origin, into: str) -> "Target":
    """The sweep's project in a folder."""
    folder = _folder(into)
    folder.mkdir(parents=True, exist_ok=True)
    return Target(origin, folder)


def how_to_look(into: str) -> str:
    """The command that sends the runs to W&B's server, where they are looked at."""
    return f"wandb sync {_folder(into) / 'offline-run-*'}"


def _folder(into: str) -> Path:
    """Where the runs lie: W&B puts them into a folder `wandb` whatever one asks for."""
    path = Path(into)
    return path if path.name == "wandb" else path / "wandb"


class Target:
    """The offline runs of a sweep. What an earlier export left is not W&B's to tell, so a ledger does."""

    def __init__(self, origin: Origin, folder: Path) -> None:
        self._origin, self._folder = origin, folder
        self._ledger = Ledger(folder, origin)

    def has(self, entry: Entry) -> bool:
        """Whether this version was written, also if it was sent and removed since."""
        return self._ledger.has(entry)

    def add(self, entry: Entry) -> None:
        """A run with all of the row. An older version's run is removed, unless it was sent already."""
        number = f"{entry.key}-{entry.version}"
        older = self._ledger.run_of(entry)
        for path in self._folder.glob(f"offline-run-*-{number}"):  # of an export that was killed
            shutil.rmtree(path)
        run = self._begun(entry, number, older)
        _log(run, entry)
        run.finish(exit_code=0 if entry.whole else 1)
        self._ledger.note(entry, number)
        for path in self._folder.glob(f"offline-run-*-{older}") if older else ():
            if not any(path.glob(SYNCED)):
                shutil.rmtree(path)

    def _begun(self, entry: Entry, number: str, older: str) -> "Run":
        """A run that knows nothing of this process, for the job's own facts are in it."""
        import wandb

        settings = wandb.Settings(
            mode="offline",
            silent=True,
            console="off",
            save_code=False,
            disable_git=True,
            disable_job_creation=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
        )
        facts = {"sweep": self._origin.name, "key": entry.key, **({"supersedes": older} if older else {})}
        weights = f"{entry.tags['weights']} weights"
        return wandb.init(
            project=safe(self._origin.name),
            id=number,
            name=entry.name,
            dir=self._folder.parent,
            config={**entry.settings, "provenance": entry.tags, "svdsweep": facts},
            tags=[label[:LONGEST_LABEL] for label in (entry.status, weights, *self._origin.tags)],
            notes=entry.notes or None,
            settings=settings,
            reinit="create_new",
        )

    def close(self) -> None:
        """End W&B's own process."""
        import wandb

        wandb.teardown()


def _log(run: "Run", entry: Entry) -> None:
    """Series by step, then pictures, then the numbers of the whole run."""
    import wandb

    steps: dict[int, dict[str, Any]] = {}
    for name, values in entry.series.items():
        for step, value in values:
            steps.setdefault(step, {})[name] = value
    media = {".mp4": ("video", wandb.Video), ".png": ("contact_sheet", wandb.Image)}
    for path in entry.files:
        name, kind = media[path.suffix]
        steps.setdefault(0, {})[name] = kind(str(path))
    for step in sorted(steps):
        run.log(steps[step], step=step)
    run.summary.update(dict(entry.metrics))

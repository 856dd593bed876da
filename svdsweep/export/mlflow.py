"""MLflow: an experiment a sweep, a run a row, in a database and a folder of one's own or on a server.

MLflow 3 refuses its old store of plain files, so a folder gets `mlflow.db` and `artifacts/`."""

import logging
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.export.contract import Entry, Origin
from svdsweep.export.ledger import safe

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY, VERSION, SUPERSEDED = "svdsweep.key", "svdsweep.row", "svdsweep.superseded_by"
METRICS_AT_ONCE, SETTINGS_AT_ONCE = 1000, 100
"""MLflow takes no more in one call."""
PLACES = {".mp4": "videos", ".png": "sheets"}


def connect(origin: Origin, into: str) -> "Target":
    """The sweep's experiment in a folder, or at a tracking URI."""
    os.environ.setdefault(
        "MLFLOW_DISABLE_TELEMETRY", "true"
    )  # nothing leaves the disk unless a server is named
    from mlflow import MlflowClient

    for noisy in ("mlflow", "alembic"):  # which tell of the tables that they make
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if _is_folder(into):
        Path(into).mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=_uri(into))
    return Target(client, _experiment(client, origin, into))


def how_to_look(into: str) -> str:
    """The command that shows a folder; a server shows itself."""
    return f"mlflow ui --backend-store-uri {_uri(into)}" if _is_folder(into) else into


def _is_folder(into: str) -> bool:
    return "://" not in into


def _uri(into: str) -> str:
    return f"sqlite:///{Path(into).resolve().as_posix()}/mlflow.db" if _is_folder(into) else into


def _experiment(client: "MlflowClient", origin: Origin, into: str) -> str:
    """The id of the sweep's experiment, which is made where there is none."""
    place = (Path(into).resolve() / "artifacts" / safe(origin.name)).as_uri() if _is_folder(into) else None
    known = client.get_experiment_by_name(origin.name)
    number: str = known.experiment_id if known else client.create_experiment(origin.name, place)
    tags = {
        "svdsweep.tags": ", ".join(origin.tags),
        "mlflow.note.content": origin.note,
        "mlflow.experimentKind": "custom_model_development",  # or MLflow's pages look for a chat
    }
    for tag, text in tags.items():
        if text:
            client.set_experiment_tag(number, tag, text)
    return number


class Target:
    """An experiment, and which rows it has."""

    def __init__(self, client: "MlflowClient", experiment: str) -> None:
        self._client, self._experiment = client, experiment
        self._runs: dict[str, dict[str, str]] = defaultdict(dict)
        """The version of each run that was made here, by key and by the run's id; empty where it is unfinished."""
        page = None
        while page != "":
            found = client.search_runs([experiment], f"tags.`{KEY}` != ''", page_token=page)
            for run in found:
                self._runs[run.data.tags[KEY]][run.info.run_id] = run.data.tags.get(VERSION, "")
            page = found.token or ""

    def has(self, entry: Entry) -> bool:
        """Whether there is a run of that version."""
        return entry.version in self._runs[entry.key].values()

    def add(self, entry: Entry) -> None:
        """A run with all of the row. Older runs of the job are tagged, and one that was never finished is deleted."""
        at = int(entry.began.timestamp() * 1000)
        run = self._client.create_run(
            self._experiment, start_time=at, run_name=entry.name, tags={KEY: entry.key, **_tags(entry)}
        )
        number = run.info.run_id
        self._log(number, entry, at)
        for path in entry.files:
            self._client.log_artifact(number, str(path), PLACES[path.suffix])
        ended = at + int(entry.took_s * 1000)
        self._client.set_terminated(number, "FINISHED" if entry.whole else "FAILED", end_time=ended)
        self._client.set_tag(number, VERSION, entry.version)  # last: what lacks it is not whole
        for older, version in self._runs[entry.key].items():
            if version:
                self._client.set_tag(older, SUPERSEDED, number)
            else:
                self._client.delete_run(older)
        self._runs[entry.key] = {number: entry.version}

    def _log(self, number: str, entry: Entry, at: int) -> None:
        """Settings, numbers and series, as many at once as MLflow takes."""
        from mlflow.entities import Metric, Param

        settings = [Param(name, str(value)) for name, value in entry.settings.items()]
        for i in range(0, len(settings), SETTINGS_AT_ONCE):
            self._client.log_batch(number, params=settings[i : i + SETTINGS_AT_ONCE])
        metrics = [Metric(name, value, at, 0) for name, value in entry.metrics.items()]
        metrics += [Metric(name, v, at, step) for name, values in entry.series.items() for step, v in values]
        for i in range(0, len(metrics), METRICS_AT_ONCE):
            self._client.log_batch(number, metrics=metrics[i : i + METRICS_AT_ONCE])

    def close(self) -> None:
        """All is written."""


def _tags(entry: Entry) -> dict[str, str]:
    return {**entry.tags, **({"mlflow.note.content": entry.notes} if entry.notes else {})}

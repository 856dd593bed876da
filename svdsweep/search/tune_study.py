"""A search as a study of optuna in a SQLite file, for its dashboard. The rows decide; this is a copy."""

from pathlib import Path
from typing import Any

from svdsweep.errors import UserError
from svdsweep.memory.sigmas import SIGMA_MAX, SIGMA_MIN
from svdsweep.search.tune_schedules import Trial

FILE = "study.db"


def check() -> None:
    """Raise UserError without what searches, or what keeps the record."""
    try:
        import cmaes  # noqa: F401
        import optuna  # noqa: F401
    except ImportError as e:
        raise UserError('tune needs cmaes and optuna: pip install "svdsweep[tune]".') from e


def record(folder: Path, trials_by_steps: dict[int, list[Trial]]) -> str:
    """Add the trials that are not there yet to `study.db` in a sweep's folder, a study for each number of steps; tells
    why that was not possible (another driver writes it, or it is damaged), or nothing."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{(folder / FILE).resolve()}")
        for steps, trials in trials_by_steps.items():
            study = optuna.create_study(
                storage=storage, study_name=f"{steps} steps", direction="maximize", load_if_exists=True
            )
            there = {trial.user_attrs.get("number") for trial in study.get_trials(deepcopy=False)}
            study.add_trials([_frozen(trial) for trial in trials if trial.number not in there])
        storage.remove_session()
        storage.engine.dispose()
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as e:
        return f"{FILE} was not written, which the search does not need: {str(e).splitlines()[0]}"
    return ""


def _frozen(trial: Trial) -> Any:
    import optuna

    inner = trial.levels[1:-1]
    names = [f"sigma_{i}" for i in range(2, len(inner) + 2)]
    levels = dict.fromkeys(names, optuna.distributions.FloatDistribution(SIGMA_MIN / 10, SIGMA_MAX, log=True))
    state = optuna.trial.TrialState
    failed = trial.nearness_db is None
    return optuna.trial.create_trial(
        state=state.FAIL if failed else state.COMPLETE,
        value=trial.nearness_db,
        params=dict(zip(names, inner, strict=True)),
        distributions=levels,
        user_attrs={
            "number": trial.number,
            "generation": trial.generation,
            "jobs": [job.key for job in trial.jobs],
        },
    )

"""Models of the hub: their snapshots in its cache, what it says of those that are not there, and their download."""

from pathlib import Path

from svdsweep.config import Model
from svdsweep.errors import UserError
from svdsweep.models.judge import cures, look, refusal, whats
from svdsweep.models.layout import INDEX, missing, to_download
from svdsweep.models.mistaken import ALLOWED, beside

ANSWER_TIMEOUT_S = 3.0


def download(model: Model) -> None:
    """Download what is read of a model with its revision pinned. Raises UserError."""
    from huggingface_hub import snapshot_download

    try:
        wanted = to_download(_listed(model.source, model.revision), model.variant)
        snapshot_download(model.source, revision=model.revision, allow_patterns=wanted)
    except Exception as e:
        raise UserError(not_here(model, f"the download failed ({type(e).__name__}: {e})")) from e


def _repository(model: Model) -> Path:
    """Where the hub's cache keeps a model, there or not."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{model.source.replace('/', '--')}"


def snapshot(model: Model) -> Path | None:
    """The snapshot in the hub's cache of a model's revision (default: main), whole or not."""
    revision = model.revision or "main"
    try:
        ref = _repository(model) / "refs" / revision
        commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision
        folder = _repository(model) / "snapshots" / commit
        return folder if folder.is_dir() else None
    except (OSError, ValueError):
        return None


def cached_commit(model: Model) -> str | None:
    """The commit of a model that is whole in the hub's cache, None where it is not there or a download may complete
    it. Raises UserError where what is there is wrong."""
    folder = snapshot(model)
    if not folder:
        return None
    faults = look(folder, model.variant).faults
    if wrong := [fault for fault in faults if not fault.absent]:
        raise UserError(refusal(wrong, model, folder, for_download(model)))
    return None if faults else folder.name


def commit_on_hub(model: Model) -> str:
    """The commit that the hub has of a model, all of whose files it lists. Raises UserError with what to do."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        url = hf_hub_url(model.source, INDEX, revision=model.revision)
        commit = get_hf_file_metadata(url, timeout=ANSWER_TIMEOUT_S).commit_hash
        names = _listed(model.source, commit)
    except HFValidationError as e:
        raise UserError(
            f"model.source={model.source}: no such folder, and no id of the hub ({e}). {ALLOWED}"
        ) from e
    except GatedRepoError as e:
        raise UserError(not_here(model, "the hub asks you to accept their licence first")) from e
    except RevisionNotFoundError as e:
        problem = f"model.revision={model.revision}: {model.source} has no such branch, tag or commit."
        raise UserError(problem) from e
    except RepositoryNotFoundError as e:
        problem = f"model.source={model.source}: the hub knows no such model, or hides it from you."
        raise UserError(problem + _no_folder(model)) from e
    except Exception as e:  # the hub's client raises its own and its transport's errors
        raise UserError(not_here(model, f"the hub cannot be reached ({type(e).__name__})")) from e
    if commit is None:
        raise UserError(not_here(model, "the hub named no commit"))
    if faults := missing(names, model.variant):
        cure = cures(faults, model.source)
        raise UserError(f"model.source={model.source}, on the hub: {whats(faults)}. {cure}")
    return commit


def _listed(source: str, revision: str | None) -> set[str]:
    """The files that the hub has of a model. Raises what its client raises."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(source, revision=revision, timeout=ANSWER_TIMEOUT_S)
    return {file.rfilename for file in info.siblings or ()}


def for_download(model: Model) -> str:
    """What `hf download` takes to fetch a model."""
    return model.source + (f" --revision {model.revision}" if model.revision else "")


def _no_folder(model: Model) -> str:
    """A sentence for a hub id that may be meant as a path: its first part is a folder here."""
    path = Path(model.source)
    return f" Nor is there a folder {path} here.{beside(path)}" if path.parent.is_dir() else ""


def not_here(model: Model, why: str) -> str:
    """The paragraph about weights that are not to be had: what there is of them, and how they come here."""
    there, cure = _in_cache(model)
    return (
        f"model={model.name}: the weights of {model.source} are {there}, and {why}.{_no_folder(model)} {cure} Or point "
        "model.source at a folder in diffusers' layout. Without any weights, `model.weights=random` measures true "
        "VRAM and latency (the pictures mean nothing), and `model=tiny` runs anywhere."
    )


def _in_cache(model: Model) -> tuple[str, str]:
    """What the hub's cache has of a model that is not there whole, and how the rest comes."""
    repository, folder, fetched = _repository(model), snapshot(model), for_download(model)
    halves = len(list(repository.glob("blobs/*.incomplete")))
    broken_off = f" ({halves} of its files half downloaded)" if halves else ""
    if folder and (faults := look(folder, model.variant).faults):
        there = f"in the hub's cache but in part{broken_off}: {whats(faults)}"
        return there, cures(faults, model.source, fetched)
    if commits := sorted(path.name for path in repository.glob("snapshots/*")):
        known = " or ".join(f"model.revision={commit}" for commit in commits)
        there = f"in the hub's cache but not as {model.revision or 'main'}{broken_off}"
        return there, f"{known} reads what is there; `hf download {fetched}` fetches the other."
    licence = "Accept the licence on the model's page, then run `hf auth login` and"
    get = f"{licence} `hf download {fetched}` where there is a network (the cache folder can be copied)."
    return f"not on this machine{broken_off}", get

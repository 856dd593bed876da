"""Other decoders on the hub: their snapshots in its cache, the commit that it has, and their download."""

from pathlib import Path

from svdsweep.config import Model
from svdsweep.errors import UserError
from svdsweep.models.hub import ANSWER_TIMEOUT_S, snapshot

CONFIG = "config.json"
WEIGHTS = tuple(f"diffusion_pytorch_model{variant}.safetensors" for variant in ("", ".fp16"))
"""The weight files of a folder, of which the first that is there is read."""


def snapshot_of(model: Model) -> Path | None:
    """The snapshot in the hub's cache with the files of a model's decoder; None where one of them is missing."""
    folder = snapshot(Model(source=model.decoder_source, revision=model.decoder_revision))
    if folder and (folder / CONFIG).is_file() and any((folder / name).is_file() for name in WEIGHTS):
        return folder
    return None


def commit_of(model: Model) -> str:
    """The commit that the hub has of a model's decoder. Raises UserError with what to do."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        url = hf_hub_url(model.decoder_source, WEIGHTS[0], revision=model.decoder_revision)
        commit = get_hf_file_metadata(url, timeout=ANSWER_TIMEOUT_S).commit_hash
    except Exception as e:  # the hub's client raises its own and its transport's errors
        raise not_here(model, f"the hub has none or cannot be asked ({type(e).__name__})") from e
    if commit is None:
        raise not_here(model, "the hub named no commit")
    return commit


def download(model: Model) -> None:
    """Download the decoder of a model with its revision pinned. Raises UserError."""
    from huggingface_hub import snapshot_download

    files = [CONFIG, WEIGHTS[0]]
    try:
        snapshot_download(model.decoder_source, revision=model.decoder_revision, allow_patterns=files)
    except Exception as e:  # as above
        raise not_here(model, f"the download failed ({type(e).__name__}: {e})") from e


def not_here(model: Model, why: str) -> UserError:
    """The refusal of a decoder whose weights are not to be had, with how they come here."""
    source = model.decoder_source
    at = f" --revision {model.decoder_revision}" if model.decoder_revision else ""
    return UserError(
        f"model.decoder={model.decoder}: the weights of {source} are not on this machine, and {why}. `hf download "
        f"{source}{at} {CONFIG} {WEIGHTS[0]}` fetches them where there is a network (the cache folder can be copied). "
        "Or point model.decoder_source at a folder or a file. Without any weights, `model.weights=random` measures "
        "true VRAM and latency."
    )

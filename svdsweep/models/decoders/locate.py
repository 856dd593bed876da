"""Where the weights of another decoder lie, which ones exactly, and whether they are whole; by headers, no torch."""

import dataclasses
import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from svdsweep.config import Model
from svdsweep.errors import UserError
from svdsweep.models.architectures import architecture
from svdsweep.models.contents import PLAIN_TYPES, STORED, as_first, as_shape, read_config, read_weights
from svdsweep.models.decoders import hub
from svdsweep.models.decoders.hub import CONFIG, WEIGHTS
from svdsweep.models.decoders.layout import CLASSES, PUBLISHED, TINY_DECODERS, beside, lie_in, tensors_of
from svdsweep.models.layout import INDEX, PICKLES, Fault
from svdsweep.models.locate import HUB_ID
from svdsweep.models.mistaken import TO_SAFETENSORS
from svdsweep.models.single import ENDS
from svdsweep.store.files import absolute

TEMPORAL = "temporal"
"""SVD's own decoder, which comes with the model."""
SOURCES = {"image": "stabilityai/sd-vae-ft-mse", "taesd": "madebyollin/taesd"}
"""The published weights, on the hub; MIT both."""
TAESDV = "https://github.com/madebyollin/taesdv/raw/main/taesdv.pth"
ALLOWED = "Allowed is a folder in diffusers' layout, a single safetensors file, or a hub id."


@dataclass(frozen=True)
class Found:
    """The weights of a decoder, judged: its file, its network's settings, and by name in the network the tensor's name
    in the file."""

    file: Path
    config: Mapping[str, Any]
    names: Mapping[str, str]


@cache
def with_decoder(model: Model) -> Model:
    """A resolved model with the weights of its decoder pinned: a commit of the hub, or a fingerprint of the file.

    Downloads nothing. Raises UserError with what to do where they are not to be had, or are not whole."""
    if model.decoder == TEMPORAL:
        if model.decoder_source or model.decoder_revision:
            which = "decoder_source" if model.decoder_source else "decoder_revision"
            value = getattr(model, which)
            others = ", ".join(PUBLISHED)
            raise UserError(
                f"model.{which}={value} changes nothing under model.decoder={TEMPORAL}, whose weights are the "
                f"model's own: it belongs to model.decoder={others}."
            )
        return model
    if model.weights == "random":
        return dataclasses.replace(model, decoder_source="", decoder_revision=None)
    source = _source(model)
    if place := _local(model, source):
        revision = _fingerprint(judged_decoder(model).file)
        if not _own(model) and model.decoder_revision not in (None, revision):
            raise UserError(
                f"model.decoder_revision={model.decoder_revision}: what lies in {place} is revision {revision}; "
                "without model.decoder_revision, what is there runs."
            )
        named = "" if _own(model) else absolute(str(place))
        return dataclasses.replace(model, decoder_source=named, decoder_revision=revision)
    pinned = dataclasses.replace(model, decoder_source=source)
    if folder := hub.snapshot_of(pinned):
        judged_decoder(pinned)
        return dataclasses.replace(pinned, decoder_revision=folder.name)
    return dataclasses.replace(pinned, decoder_revision=hub.commit_of(pinned))


def judged_decoder(model: Model) -> Found:
    """The weights of a model's other decoder on this machine, found whole. Raises UserError with what to do."""
    source = _source(model)
    place = _local(model, source) or hub.snapshot_of(dataclasses.replace(model, decoder_source=source))
    if not place:
        raise hub.not_here(
            dataclasses.replace(model, decoder_source=source), "they are not in the hub's cache"
        )
    try:
        found = _look(model, place)
    except OSError as e:
        raise UserError(f"{_said(model)}: {place} cannot be read ({e.strerror}).") from e
    if isinstance(found, Fault):
        cure = found.cure.replace("{hub}", source).replace("{source}", str(place))
        at = "" if model.decoder_source == str(place) else f" ({place})"
        raise UserError(f"{_said(model)}{at}: {found.what}. {cure}")
    return found


def fetch_decoder(model: Model) -> None:
    """Download the decoder of a resolved model into the hub's cache, unless it is there, and judge it. Raises
    UserError."""
    own = model.decoder == TEMPORAL or model.weights == "random"
    if own or _local(model, _source(model)) or hub.snapshot_of(model):
        return
    hub.download(model)
    judged_decoder(model)


def _source(model: Model) -> str:
    """Where the weights are asked from. Raises UserError for a decoder that nobody publishes as safetensors."""
    if source := model.decoder_source or ("embedded" if _own(model) else SOURCES.get(model.decoder, "")):
        return source
    cure = _converted("taesdv.pth")
    raise UserError(
        f"model.decoder={model.decoder} needs model.decoder_source: its author publishes a pickle alone, which is "
        f"never read. `curl -LO {TAESDV}` fetches it (MIT, 6 MB). {cure}"
    )


def _own(model: Model) -> bool:
    """Whether the embedded model's own decoder is meant."""
    return model.source == "embedded" and not model.decoder_source


def _said(model: Model) -> str:
    given = f"model.decoder_source={model.decoder_source}" if model.decoder_source else ""
    return given or f"model.decoder={model.decoder}"


def _converted(path: str) -> str:
    return TO_SAFETENSORS.format(path=shlex.quote(path), key="model.decoder_source")


def _local(model: Model, source: str) -> Path | None:
    """The local folder or file of a source, None for a hub id. Raises UserError for anything else."""
    if _own(model):
        return TINY_DECODERS / model.decoder
    said = f"model.decoder_source={source}"
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix in PICKLES:
            cure = _converted(str(path.absolute()))
            raise UserError(f"{said}: that is a pickle, which is never read: it may run any code. {cure}")
        if path.suffix not in ENDS:
            raise UserError(f"{said}: that is no safetensors file. {ALLOWED}")
        return path.absolute()
    if path.is_dir():
        if (path / INDEX).is_file():
            raise UserError(
                f"{said}: that is a whole pipeline; give its VAE: model.decoder_source={path / 'vae'}"
            )
        return path.absolute()
    if HUB_ID.fullmatch(source) and not source.startswith("."):
        return None
    raise UserError(
        f"{said}: there is no such file or folder, and a hub id has the form organisation/name. {ALLOWED}"
    )


def _look(model: Model, place: Path) -> Found | Fault:
    """The weights at a place, or what is wrong with them. Raises OSError."""
    name = model.decoder
    config: Mapping[str, Any] = PUBLISHED[name]
    file = place
    if place.is_dir():
        if (place / CONFIG).is_file() or name in CLASSES:
            read = read_config(place, CONFIG) if (place / CONFIG).is_file() else _lacks(place, CONFIG)
            if isinstance(read, Fault):
                return read
            if fault := _of_class(name, read):
                return fault
            config = {**config, **read}
        there = next((place / stem for stem in WEIGHTS if (place / stem).is_file()), None)
        if not there:
            return _lacks(place, WEIGHTS[0])
        file = there
    if fault := _of_latents(model, config):
        return fault
    return _of_tensors(name, file, config)


def _lacks(folder: Path, name: str) -> Fault:
    """What lies in a folder where a file is missing."""
    names = sorted(path.name for path in folder.iterdir())
    if single := next((there for there in names if there.endswith(ENDS)), None):
        return Fault(f"{name} is missing", f"Perhaps model.decoder_source={folder / single} is meant.")
    if pickle := next((there for there in names if there.endswith(PICKLES)), None):
        return Fault(f"{name} is missing, and {pickle} is a pickle", _converted(str(folder / pickle)))
    return Fault(f"{name} is missing", ALLOWED)


def _of_class(name: str, config: Mapping[str, Any]) -> Fault | None:
    wanted = CLASSES.get(name)
    if wanted and (kind := config.get("_class_name", wanted)) != wanted:
        other = next((n for n, c in CLASSES.items() if c == kind), None)
        meant = f"model.decoder={other} is for that." if other else ALLOWED
        return Fault(f"{CONFIG} is that of a {kind}, where {name} has a {wanted}", meant)
    return None


def _of_latents(model: Model, config: Mapping[str, Any]) -> Fault | None:
    """Whether a decoder is for the latents of this model's VAE."""
    vae = architecture(model.architecture).vae
    if (channels := config["latent_channels"]) != vae["latent_channels"]:
        what = f"it decodes latents of {channels} channels, where this model's have {vae['latent_channels']}"
        own = " The embedded model has decoders of its own: leave model.decoder_source out."
        return Fault(what, f"Take one for this model.{own if model.architecture == 'tiny' else ''}")
    factor = config["scaling_factor"]
    if model.decoder == "image" and factor != vae["scaling_factor"]:
        what = f"its scaling_factor is {factor}, where this model's VAE has {vae['scaling_factor']}"
        return Fault(what, f"It is the VAE of other latents; SVD's are those of {SOURCES['image']}.")
    return None


def _of_tensors(name: str, file: Path, config: Mapping[str, Any]) -> Found | Fault:
    """Whether each tensor of a decoder is in a file, of its shape, and nothing unknown beside. Raises OSError."""
    try:
        wanted = tensors_of(name, config)
    except ValueError as e:
        return Fault(f"{CONFIG}: {e}", ALLOWED)
    there = read_weights(file.parent, file.name)
    if isinstance(there, Fault):
        return there
    names = lie_in(name, wanted, config, there)
    needed = f"Take a file that holds the decoder {name} whole and nothing else; it is another's."
    if lacking := set(names.values()) - there.keys():
        some = f"{len(lacking)} of the {len(wanted)} tensors of the decoder {name} ({as_first(lacking)})"
        return Fault(f"{file.name} lacks {some}", needed)
    for own, stored in names.items():
        shape = there[stored].shape
        if shape not in (wanted[own], (*wanted[own], 1, 1)):
            asked = f"{as_shape(shape)} where {name} has {as_shape(wanted[own])}"
            return Fault(f"{file.name} holds {stored} as {asked}", needed)
    if spare := beside(there, names.values()):
        held = f"{len(spare)} tensors beside those of the decoder {name} ({as_first(spare)})"
        return Fault(f"{file.name} holds {held}", needed)
    if strange := {there[stored].dtype for stored in names.values()}.difference(STORED):
        return Fault(f"{file.name} stores weights as {', '.join(sorted(strange))}", PLAIN_TYPES)
    return Found(file, config, names)


def _fingerprint(file: Path) -> str:
    """A hash of a whole file, and of the settings beside it: decoders are small."""
    state = hashlib.sha256()
    config = file.parent / CONFIG
    for path in (file, *([config] if file.name in WEIGHTS and config.is_file() else [])):
        with path.open("rb") as f:
            state.update(hashlib.file_digest(f, "sha256").digest())
    return state.hexdigest()[:16]

"""LoRA of several trainers: which layer of the UNet each tensor belongs to, told by names and shapes; without torch.

Sources of the names: diffusers (`loaders/lora_conversion_utils.py`, `utils/state_dict_utils.py`), peft
(`utils/save_and_load.py`), kohya-ss/sd-scripts (`networks/lora.py`), SVD_Xtend (`train_svd_lora.py`, which saves by
diffusers), LyCORIS (`lycoris/modules/`) for what is refused."""

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from svdsweep.config import Model
from svdsweep.config.adapters import NONE, Lora, as_text, loras
from svdsweep.errors import UserError
from svdsweep.models import pieces
from svdsweep.models.contents import STORED, as_first, as_shape, read_weights
from svdsweep.models.headers import Tensor
from svdsweep.models.layout import PICKLES, Fault
from svdsweep.models.original import UNET, origins
from svdsweep.models.pieces import Piece, Wrong, no_safetensors, sound, without
from svdsweep.models.single import ENDS
from svdsweep.models.tensors import Shape, expected

KEY = "model.lora"
FILES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""What diffusers and peft name the file in a folder."""
SETTINGS = "adapter_config.json"
"""peft's settings beside its file; diffusers keeps them in the file's header, under `METADATA`."""
METADATA = "lora_adapter_metadata"
ALLOWED = (
    "Allowed is a safetensors file of diffusers, peft, kohya or SVD_Xtend, or a folder with "
    f"{' or '.join(FILES)} in it."
)
MERGED = "Merge it into the UNet with the program that made it, and give that as model.unet."
PREFIX = re.compile(
    r"(?:base_model\.model\.|unet\.|module\.|_orig_mod\.|(?:model\.)?diffusion_model\.|lora_unet_)+"
)
ENDING = re.compile(
    r"(?P<layer>.+?)(?:\.lora_(?P<peft>[AB])(?:\.\w+)?|[._]lora[._](?P<way>down|up))\.weight|(?P<scaled>.+)\.alpha"
)
ROLES = {"A": "down", "B": "up", "down": "down", "up": "up", None: "alpha"}
"""What a tensor is to its layer, by the words of its ending."""
OTHER_FORMS = {
    "LoHa": (".hada_w",),
    "LoKr": (".lokr_w",),
    "DoRA": ("dora_scale", "lora_magnitude_vector"),
    "LoCon in three factors": (".lora_mid.",),
    "(IA)³": (".on_input",),
}
"""What is no product of two matrices for each layer, by a sign in its names."""
OF_TEXT = ("lora_te", "text_encoder", "te1_", "te2_")


@dataclass(frozen=True)
class Pair:
    """The two factors of what is added to a layer's weight, by their names in the file."""

    down: str
    up: str
    alpha: str | None
    """A tensor with the numerator of the factor."""
    factor: float
    """What the product is multiplied by where there is no `alpha`, which is to be divided by the rank."""
    rank: int


@dataclass(frozen=True)
class Adapter:
    """A LoRA that fits: its file and, by layer of the UNet, its factors."""

    file: Path
    weight: float
    pairs: Mapping[str, Pair]

    @property
    def rank(self) -> str:
        """Its rank, or the least and the largest (`4–16`)."""
        ranks = sorted({pair.rank for pair in self.pairs.values()})
        return "–".join(map(str, dict.fromkeys((ranks[0], ranks[-1]))))


def pinned(model: Model, config: Mapping[str, Any] | None) -> Model:
    """The model with its LoRA pinned, judged where they are here and the `config` of the UNet is known.

    Raises UserError, also for LoRA of random weights."""
    if model.lora == NONE:
        return dataclasses.replace(model, lora_scale=1.0, lora_revision=None)
    if model.weights == "random":
        raise UserError(
            f"{KEY}={model.lora}: to random weights there is nothing to add; give model.lora=none."
        )
    places, revisions = [], []
    for piece, lora in _pieces(model):
        place = pieces.locate(piece)
        if place and config:
            judged(piece, place, lora.weight, config)
        text, revision = pieces.pinned(piece, place)
        places.append(Lora(text, lora.weight))
        revisions.append(revision)
    return dataclasses.replace(model, lora=as_text(places), lora_revision="+".join(revisions))


def found(model: Model, config: Mapping[str, Any]) -> list[Adapter]:
    """The LoRA of a resolved model, on this machine. Raises UserError."""
    return [judged(piece, pieces.needed(piece), lora.weight, config) for piece, lora in _pieces(model)]


def fetch(model: Model) -> None:
    """Download those on the hub that are not in its cache. Raises UserError."""
    for piece, _ in _pieces(model):
        pieces.fetch(piece)


def _pieces(model: Model) -> list[tuple[Piece, Lora]]:
    several = loras(model.lora)
    revisions: list[str | None] = [*(model.lora_revision or "").split("+")] if model.lora_revision else []
    if len(revisions) not in (0, len(several)):
        what = f"model.lora_revision={model.lora_revision} has {len(revisions)} for {len(several)} LoRA"
        raise UserError(f"{what}; give one for each, joined by +, or none.")
    pairs = zip(several, revisions or [None] * len(several), strict=True)
    return [(Piece(KEY, lora.place, revision, (*FILES, SETTINGS)), lora) for lora, revision in pairs]


def judged(piece: Piece, place: Path, weight: float, config: Mapping[str, Any]) -> Adapter:
    """A LoRA each of whose tensors fits a layer of the UNet. Raises UserError with what is wrong, in one paragraph."""
    return pieces.judged(piece, place, lambda: _look(place, weight, config))


def _look(place: Path, weight: float, config: Mapping[str, Any]) -> Adapter:
    """Raises Wrong and OSError."""
    file = _file_in(place) if place.is_dir() else place
    if file.suffix not in ENDS:
        raise Wrong(no_safetensors(KEY, file, ALLOWED))
    there = sound(read_weights(file.parent, file.name))
    without(_another_kind(file, there))
    parts = _by_layer(file.name, there, names_of_layers(config))
    without(_of_shapes(file.name, parts, there, expected("unet", config)))
    settings = _settings(file)
    if settings.get("use_dora"):
        raise Wrong(Fault(f"{file.name} is a DoRA, by its settings", MERGED))
    ranks = {layer: there[names["down"]].shape[0] for layer, names in parts.items()}
    pairs = {
        layer: Pair(n["down"], n["up"], n.get("alpha"), _factor(layer, ranks[layer], settings), ranks[layer])
        for layer, n in parts.items()
    }
    return Adapter(file, weight, pairs)


def names_of_layers(config: Mapping[str, Any]) -> dict[str, str]:
    """The layer of the UNet, by each name that a trainer may give it: diffusers' or Stability's, with dots or, as
    kohya's, with underscores."""
    names: dict[str, str] = {}
    for name, origin in origins("unet", config, ()).items():
        if not name.endswith(".weight") or len(origin.shape) < 2:
            continue
        layer = name.removesuffix(".weight")
        for known in (layer, origin.name.removeprefix(UNET).removesuffix(".weight")):
            names[known] = names[known.replace(".", "_")] = layer
    return names


def _by_layer(file: str, there: Iterable[str], layers: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The tensors of each layer as `down`, `up` and `alpha`. Raises Wrong where one belongs to none, or is missing."""
    parts: dict[str, dict[str, str]] = {}
    unmatched = []
    for name in there:
        match = ENDING.fullmatch(name)
        if not (match and (layer := layers.get(_plain(match["layer"] or match["scaled"])))):
            unmatched.append(name)
            continue
        if parts.setdefault(layer, {}).setdefault(ROLES[match["peft"] or match["way"]], name) != name:
            unmatched.append(name)
    if unmatched:
        what = f"{len(unmatched)} tensors of {file} fit no layer of the UNet ({as_first(unmatched)})"
        raise Wrong(
            Fault(what, f"It was trained for another model, or by a program not known here. {ALLOWED}")
        )
    if halves := [layer for layer, names in parts.items() if not {"down", "up"} <= names.keys()]:
        what = f"{file} has only one of the two matrices of {len(halves)} layers ({as_first(halves)})"
        raise Wrong(Fault(what, "Save or copy it again, whole."))
    return parts


def _plain(name: str) -> str:
    """A layer's name without what stands before the UNet's own, and without diffusers' old processors."""
    own = PREFIX.sub("", name, count=1) if PREFIX.match(name) else name
    own = own.replace(".processor.", ".")
    return f"{own}.0" if own.endswith(".to_out") else own


def _of_shapes(
    name: str,
    parts: Mapping[str, Mapping[str, str]],
    there: Mapping[str, Tensor],
    shapes: Mapping[str, Shape],
) -> list[Fault]:
    """Whether the product of each layer's matrices has the form of its weight, and all are stored in plain types."""
    for layer, names in parts.items():
        down, up, weight = there[names["down"]], there[names["up"]], shapes[f"{layer}.weight"]
        ends = (up.shape[:1], math.prod(down.shape[1:])) == (weight[:1], math.prod(weight[1:]))
        if not (ends and down.shape and math.prod(up.shape[1:]) == down.shape[0]):
            product = f"{as_shape(up.shape)} by {as_shape(down.shape)}"
            what = f"{name} has {product} for {layer}, whose weight is {as_shape(weight)}"
            return [Fault(what, f"It was trained for another model. {ALLOWED}")]
        if strange := {down.dtype, up.dtype}.difference(STORED):
            cure = "Save it in float16, bfloat16 or float32."
            return [Fault(f"{name} stores {layer} as {', '.join(sorted(strange))}", cure)]
    return []


def _factor(layer: str, rank: int, settings: Mapping[str, Any]) -> float:
    """What peft multiplies the product by; 1 where nothing is said, as trainers of diffusers take alpha = rank."""
    patterns: Mapping[str, float] = settings.get("alpha_pattern") or {}
    own = (alpha for key, alpha in patterns.items() if re.fullmatch(rf"(?:.*\.)?{re.escape(key)}", layer))
    alpha = next(own, settings.get("lora_alpha"))
    if alpha is None:
        return 1.0
    return float(alpha) / (math.sqrt(rank) if settings.get("use_rslora") else rank)


def _settings(file: Path) -> dict[str, Any]:
    """peft's settings of a LoRA: those beside the file, or in its header as diffusers keeps them; none for other
    trainers'. Raises OSError."""
    beside = file.parent / SETTINGS
    try:
        if file.name == FILES[1] and beside.is_file():
            settings = json.loads(beside.read_text(encoding="utf-8"))
        else:
            with safe_open(file, framework="numpy") as opened:
                settings = json.loads((opened.metadata() or {}).get(METADATA, "{}"))
    except ValueError:
        return {}
    if not isinstance(settings, dict):
        return {}
    return {name.removeprefix("unet."): value for name, value in settings.items()}


def _file_in(folder: Path) -> Path:
    """The file of a folder that diffusers, peft or a trainer wrote, or a pickle there. Raises Wrong and OSError."""
    if file := next((folder / name for name in FILES if (folder / name).is_file()), None):
        return file
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if files := [path for path in paths if path.suffix in ENDS]:
        give = f"A LoRA of another name is given by its own path: {KEY}={files[0]}."
        raise Wrong(Fault(f"{folder} holds {as_first(path.name for path in files)}", give))
    if pickle := next((path for path in paths if path.suffix in PICKLES), None):
        return pickle
    raise Wrong(Fault(f"there is no LoRA in {folder}", ALLOWED))


def _another_kind(file: Path, there: Mapping[str, Tensor]) -> list[Fault]:
    """The fault of a file that is no LoRA, or another kind of adapter, told by its names."""
    for form, signs in OTHER_FORMS.items():
        if any(sign in key for key in there for sign in signs):
            return [Fault(f"{file.name} is a {form}, not a LoRA of two matrices a layer", MERGED)]
    if any(key.startswith(OF_TEXT) for key in there):
        what = f"{file.name} changes a text encoder too, which SVD has not"
        return [Fault(what, f"It was trained for a model of pictures. {ALLOWED}")]
    if not any(ENDING.fullmatch(key) for key in there):
        cure = f"If it is a whole UNet, give it as model.unet={file}. {ALLOWED}"
        return [Fault(f"{file.name} holds no LoRA ({as_first(there)})", cure)]
    return []

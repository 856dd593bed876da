"""Whether a single file holds SVD whole in Stability's layout, or what it is instead; by its header alone."""

from collections.abc import Collection, Mapping
from pathlib import Path

from svdsweep.models.architectures import architecture, svd
from svdsweep.models.contents import AGAIN, PLAIN_TYPES, STORED, as_first, as_shape, read_weights
from svdsweep.models.headers import Tensor
from svdsweep.models.layout import BASE, INDEX, WEIGHTS, Fault, Judged
from svdsweep.models.original import NOT_READ, OWN_ENCODER, UNET, VAE, Origin, origins

WHOLE = (
    "A single file is read where it holds all of SVD in Stability's layout (UNet, VAE and image encoder, as "
    "svd.safetensors and svd_xt.safetensors on the hub do, and what ComfyUI saves as a checkpoint); else give a folder "
    f"in diffusers' layout, or a hub id such as {BASE}."
)
OF_PICTURES = f"svdsweep runs Stable Video Diffusion alone. {WHOLE}"
NAME_IT = "Say which it is: add model=svd (14 frames) or model=svd_xt (25 frames) to the command."
UNET_ALONE = (
    "Give it as model.unet, beside the model that it was trained from: model=svd_xt model.unet={source}."
)
MERGE = "Give it as model.lora, beside the model that it was trained for: model=svd_xt model.lora={source}."
CONV_IN = f"{UNET}input_blocks.0.0.weight"
ENDS = (".safetensors", ".sft")
"""How the names of files end that are read."""


def look(path: Path, shapes: str) -> Judged:
    """All that is wrong with a single file as one of an architecture (`svd`, `svd_xt`, `tiny`), and in which types its
    networks are stored. Raises OSError."""
    there = read_weights(path.parent, path.name)
    if isinstance(there, Fault):
        return Judged([there])
    if fault := _another_kind(path.name, there, shapes):
        return Judged([fault])
    judged = Judged([], dict.fromkeys(WEIGHTS))
    sizes = architecture(shapes)
    read: set[str] = set()
    for part in WEIGHTS:
        found = origins(part, getattr(sizes, part), there.keys())
        wanted = {origin.name: origin for origin in found.values()}
        judged.faults.extend(of_network(path.name, part, wanted, there))
        judged.stored[part] = {there[name].dtype for name in wanted.keys() & there.keys()}
        read |= wanted.keys()
    judged.faults.extend(of_types(path.name, judged.stored))
    if not judged.faults and (spare := _spare(there, read)):
        what = f"{path.name} holds {len(spare)} tensors beside those of SVD ({as_first(spare)})"
        judged.faults.append(Fault(what, f"No weight is passed over in silence. {WHOLE}"))
    return judged


def is_single(path: Path) -> bool:
    """Whether a file is meant as a whole model: safetensors, but no network of the pipeline around it. Beside
    model_index.json, as on the hub, it is one by the names in it. Raises OSError."""
    if path.suffix not in ENDS:
        return False
    if not any((folder / INDEX).is_file() for folder in path.absolute().parents[:2]):
        return True
    there = read_weights(path.parent, path.name)
    return not isinstance(there, Fault) and _begin(there, UNET)


def of_network(
    name: str, part: str, wanted: Mapping[str, Origin], there: Mapping[str, Tensor]
) -> list[Fault]:
    """Whether a network's tensors are in the file, each of its shape."""
    own = wanted.keys() & there.keys()
    faults = []
    if lacking := wanted.keys() - own:
        what = f"{name} lacks {len(lacking)} of the {len(wanted)} tensors of the {part} ({as_first(lacking)})"
        faults.append(Fault(what, f"{AGAIN} {WHOLE}" if own else WHOLE))
    if misshapen := next((key for key in sorted(own) if there[key].shape != wanted[key].shape), None):
        shapes = f"{as_shape(there[misshapen].shape)} where SVD has {as_shape(wanted[misshapen].shape)}"
        faults.append(Fault(f"{name} holds {misshapen} as {shapes}", f"It is another model's. {OF_PICTURES}"))
    return faults


def of_types(name: str, stored: Mapping[str, set[str]]) -> list[Fault]:
    """Whether all networks are stored in types that are read."""
    strange = set().union(*stored.values()).difference(STORED)
    parts = ", ".join(part for part, types in stored.items() if types & strange)
    return [Fault(f"{name} stores {parts} as {', '.join(sorted(strange))}", PLAIN_TYPES)] if strange else []


def _spare(there: Collection[str], read: Collection[str]) -> list[str]:
    """The tensors that are neither read nor known to be of no use."""
    known = {name for name in there if NOT_READ.match(name)}
    if _begin(there, f"{OWN_ENCODER}encoder."):  # of the two encoders in such a file, this one is read
        known |= {name for name in there if name.startswith(f"{VAE}encoder.")}
    return sorted(set(there) - set(read) - known)


def _another_kind(name: str, there: Mapping[str, Tensor], shapes: str) -> Fault | None:
    """The fault of a file that is something else than all of SVD, told by its names; None for SVD's own."""
    if not _begin(there, UNET):
        what, cure = _without_unet(there)
        return Fault(f"{name} {what}", cure)
    if not any(".time_stack." in key for key in there):
        kind = "Stable Diffusion XL" if _begin(there, "conditioner.embedders.1.") else "Stable Diffusion"
        return Fault(f"{name} is a model of pictures ({kind}): its UNet has nothing over time", OF_PICTURES)
    if not _begin(there, "conditioner.", VAE):
        return Fault(f"{name} holds the UNet alone", UNET_ALONE)
    decoder = f"{VAE}decoder.mid.block_1."
    if f"{decoder}conv1.weight" in there and f"{decoder}mix_factor" not in there:
        what = f"{name} has a decoder of single pictures, as svd_image_decoder.safetensors has, not the one over time"
        return Fault(what, f"Take the file of that name without `_image_decoder`. {WHOLE}")
    first = there.get(CONV_IN)
    if shapes == "tiny" and first and first.shape[0] == svd(25).unet["block_out_channels"][0]:
        return Fault(f"{name} is of SVD's full size, model.architecture={shapes} is not", NAME_IT)
    return None


def _without_unet(there: Collection[str]) -> tuple[str, str]:
    """What a file is that has no UNet under the original's name, and what to do."""
    if any("lora" in key.lower() for key in there):
        return "is an adapter (LoRA), by its names", MERGE
    if _begin(there, "down_blocks.", "input_blocks."):
        return "holds a UNet alone", UNET_ALONE
    if _begin(there, VAE, "encoder.", "decoder."):
        return "holds a VAE alone", WHOLE
    return f"holds {len(there)} tensors, none of which SVD has ({as_first(there)})", WHOLE


def _begin(names: Collection[str], *words: str) -> bool:
    """Whether any name begins with one of the words."""
    return any(name.startswith(words) for name in names)

"""Learned perceptual distance (LPIPS 0.1, AlexNet; Zhang et al. 2018), from a verified weight file or not at all."""

import hashlib
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from svdsweep.metrics.contract import Context, drift, mean_known
from svdsweep.store.columns import Column
from svdsweep.store.files import absolute
from svdsweep.store.measurements import Measurements

if TYPE_CHECKING:
    from torch import Tensor

    from svdsweep.metrics.shared.footage import Footage

BACKBONE = "alexnet-owt-7be5be79.pth"
"""torchvision's file; the digits in its name are how its SHA-256 begins."""
SOURCE = f"https://download.pytorch.org/models/{BACKBONE}"
SHORTEST_PX = 32

COLUMNS = (
    Column("lpips_adj", "", low=0, headline=1,
           help="Mean distance of neighbouring frames.",
           blind_to="Motion and flicker are one to it, though less than to adj_mae_255."),
    Column("lpips_to_first", "", low=0,
           help="Mean distance of every later frame to the first: sees a slow change into another picture.",
           blind_to="A pan is change, too."),
    Column("first_lpips", "", better="lower", low=0,
           help="Distance of the first frame to the conditioning image.",
           blind_to="The VAE and noise_aug_strength limit it."),
    Column("image_lpips_drift", "",
           help="Distance to the conditioning image over the last fifth of the frames, less that of the first "
                "frame.",
           blind_to="A pan is change, too."),
    Column("lpips_to_baseline", "", better="lower", low=0,
           help="Mean distance to the baseline's frames.",
           blind_to="Differences too small to see."),
    Column("lpips_status", "", help="`ok`, or why there are no numbers."),
)  # fmt: skip


class Unavailable(Exception):
    """Raised without a weight file that can be trusted; the message says why, and which file to put where."""


def score(footage: "Footage", context: Context) -> Measurements:
    """Compute `COLUMNS`; without verified weights all are None, and status and note say why. Series: lpips_adj with a
    value a pair, image_lpips with a value a frame."""
    scores = Measurements(values={column.name: None for column in COLUMNS})
    if footage.short_side_px < SHORTEST_PX:
        scores.values["lpips_status"] = f"unavailable: frames under {SHORTEST_PX} px"
        return scores
    try:
        model = load(find(context.weights_dir)).to(footage.device)
    except Unavailable as e:
        scores.values["lpips_status"] = f"unavailable: {str(e).partition(';')[0]}"
        scores.notes.append(f"lpips is unavailable: {e}")
        return scores
    adjacent, to_first, to_image, to_baseline = _distances(model, footage, context)
    scores.values.update(lpips_status="ok", lpips_adj=mean_known(adjacent))
    scores.values.update(lpips_to_first=mean_known(to_first), lpips_to_baseline=mean_known(to_baseline))
    if to_image:
        scores.values.update(first_lpips=to_image[0], image_lpips_drift=drift(to_image))
    scores.series.update(lpips_adj=adjacent, image_lpips=to_image)
    return scores


def find(weights_dir: Path | None) -> Path:
    """The backbone's file, verified: in `weights_dir`, else in torch's own cache. Raises Unavailable."""
    import torch

    cache = Path(torch.hub.get_dir()) / "checkpoints"
    folders = [Path(absolute(weights_dir)), cache] if weights_dir else [cache]
    files = [folder / BACKBONE for folder in folders if (folder / BACKBONE).is_file()]
    for path in files:
        if verified(path):
            return path
    where = f"{folders[0]}" if weights_dir else f"{cache}, or into a folder that metrics.weights_dir names"
    reason = f"{files[0]} is not the file of that name" if files else f"no {BACKBONE}"
    raise Unavailable(f"{reason}; put {SOURCE} (233 MB) into {where}")


def verified(path: Path) -> bool:
    """Whether a file's SHA-256 begins as its name says. torch checks this only while it downloads."""
    digits = path.stem.rpartition("-")[2]
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest().startswith(digits)


def load(path: Path) -> Any:
    """The model with the backbone of `path` and the package's own heads; never downloads.

    Every tensor is checked to come from a file, for lpips says nothing where it leaves the backbone or the heads
    random. Raises Unavailable when one does not."""
    import lpips
    import torch

    with (
        warnings.catch_warnings(action="ignore"),
        _undrawn(),
    ):  # lpips uses arguments that torchvision warns about
        model = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        backbone = {name: weights[f"features.{name.partition('.')[2]}"] for name in model.net.state_dict()}
        model.net.load_state_dict(backbone, strict=True)
        file = Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth"
        heads = torch.load(file, map_location="cpu", weights_only=True)
        loaded = {f"lin{i}.model.1.weight": head.model[-1].weight for i, head in enumerate(model.lins)}
        if any(not torch.equal(weight, heads[name]) for name, weight in loaded.items()):
            raise Unavailable(f"the heads in {file} were not loaded; install lpips again")
    except (OSError, RuntimeError, KeyError, TypeError, EOFError, ValueError, UnpicklingError) as e:
        raise Unavailable(f"{path.name} holds no AlexNet ({type(e).__name__}); put {SOURCE} there") from e
    return model.eval()


def _undrawn() -> Any:
    """A context in which networks are left as memory was: to draw the 61 million weights of an AlexNet, all of which
    `load` replaces, takes half a second."""
    from torch.overrides import TorchFunctionMode

    class Undrawn(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            is_a_draw = getattr(func, "__module__", "") == "torch.nn.init"
            return None if is_a_draw else func(*args, **(kwargs or {}))

    return Undrawn()


def features(model: Any, picture: "Tensor") -> "list[Tensor]":
    """The features that LPIPS compares, of a picture (1, 3, H, W) in 0–1 (the model itself wants −1 to 1). To be
    computed once a frame, not once a pair."""
    import lpips

    return [lpips.normalize_tensor(f) for f in model.net(model.scaling_layer(2 * picture - 1))]


def distance(model: Any, a: "list[Tensor]", b: "list[Tensor]") -> float:
    """LPIPS of two pictures by their features."""
    return sum(float(head((x - y).square()).mean()) for head, x, y in zip(model.lins, a, b, strict=True))


def _distances(model: Any, footage: "Footage", context: Context) -> tuple[list[float], ...]:
    """Distances of neighbours, to the first frame, to the conditioning image and to the baseline."""
    from svdsweep.metrics.shared.likeness import as_tensor

    def of(frame: Any) -> "list[Tensor]":
        return features(model, as_tensor(frame[None], footage.device))

    image = None if context.image is None else of(context.image)
    reference = context.reference
    if reference is not None and len(reference) != footage.count:
        reference = None
    adjacent, to_first, to_image, to_baseline = [], [], [], []
    first = before = None
    for t, frame in enumerate(footage.frames):
        now = of(frame)
        if first and before:
            adjacent.append(distance(model, before, now))
            to_first.append(distance(model, first, now))
        if image:
            to_image.append(distance(model, image, now))
        if reference is not None:
            to_baseline.append(distance(model, of(reference[t]), now))
        first, before = first or now, now
    return adjacent, to_first, to_image, to_baseline

"""Shift-tolerant learned perceptual distance (ST-LPIPS, AlexNet; Ghildyal and Liu 2022), whose package holds its
weights: as LPIPS, but one pixel of shift hardly counts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from svdsweep.metrics.contract import Context, mean_known
from svdsweep.metrics.lpips import SHORTEST_PX, distance, features
from svdsweep.store.columns import Column
from svdsweep.store.measurements import Measurements

if TYPE_CHECKING:
    from svdsweep.metrics.shared.footage import Footage

WEIGHTS = "weights/vST0.0/alex_shift_tolerant.pth"
"""The file in the package with all weights of the network and its heads."""

COLUMNS = (
    Column("stlpips_to_baseline", "", better="lower", low=0, headline=2,
           help="ST-LPIPS: mean distance to the baseline's frames, of which a shift by a pixel is no part.",
           blind_to="Small shifts, and noise below 2 levels; its values are not those of LPIPS."),
    Column("stlpips_to_first", "", low=0,
           help="ST-LPIPS: mean distance of every later frame to the first.",
           blind_to="A pan is change, too, though less than to lpips_to_first."),
    Column("stlpips_status", "", help="`ok`, or why there are no numbers."),
)  # fmt: skip


def score(footage: "Footage", context: Context) -> Measurements:
    """Compute `COLUMNS`; without a baseline of as many frames there is no distance to it. Series with a value a frame:
    stlpips_to_baseline. Raises ImportError without the package."""
    from svdsweep.metrics.shared.likeness import as_tensor

    scores = Measurements(values={column.name: None for column in COLUMNS})
    if footage.short_side_px < SHORTEST_PX:
        scores.values["stlpips_status"] = f"unavailable: frames under {SHORTEST_PX} px"
        return scores
    model = load().to(footage.device)
    reference = context.reference
    if reference is None or len(reference) != footage.count:
        reference = None
    to_first, to_baseline, first = [], [], None
    for t, picture in enumerate(footage.pictures()):
        now = features(model, picture)
        if first:
            to_first.append(distance(model, first, now))
        if reference is not None:
            other = features(model, as_tensor(reference[t : t + 1], footage.device))
            to_baseline.append(distance(model, other, now))
        first = first or now
    scores.values.update(stlpips_status="ok", stlpips_to_first=mean_known(to_first))
    if to_baseline:
        scores.values["stlpips_to_baseline"] = mean_known(to_baseline)
        scores.series["stlpips_to_baseline"] = to_baseline
    return scores


def load() -> Any:
    """The model with the package's own weights; never downloads.

    Every weight is checked to come from the file, for the package says nothing where it leaves one random. Raises
    ImportError without the package, and where the check fails."""
    import torch
    from stlpips_pytorch import stlpips

    model = stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)
    file = Path(stlpips.__file__).parent / WEIGHTS
    weights = torch.load(file, map_location="cpu", weights_only=True)
    loaded = {name.replace("lins.", "lin"): value for name, value in model.state_dict().items()}
    if any(name not in weights or not torch.equal(value, weights[name]) for name, value in loaded.items()):
        raise ImportError(f"{file} is not the file of its package: install stlpips-pytorch again")
    return model.eval()

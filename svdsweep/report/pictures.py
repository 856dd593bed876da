"""Difference pictures: a strategy's contact sheet minus its baseline's, amplified; the sheets are lossless."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.analysis.strategies import BASELINE, paired
from svdsweep.analysis.sweep import Sweep
from svdsweep.analysis.table import numeric
from svdsweep.errors import UserError
from svdsweep.images.reading import opened
from svdsweep.store.files import renamed_when_done
from svdsweep.store.places import is_plain

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

GAIN = 8
"""A difference of 32 levels of 255 becomes full brightness."""


@dataclass(frozen=True)
class Difference:
    """The picture of the job of a strategy that is furthest from its baseline; `path` is relative to the sweep."""

    strategy: str
    key: str
    path: str
    psnr_db: float


def differences(sweep: Sweep, names: Sequence[str]) -> list[Difference]:
    """Write the picture of every strategy whose frames differ; those of bit-equal ones would be black."""
    if "psnr_to_baseline_db" not in sweep.ok:
        return []
    by_key = sweep.ok.set_index("key", drop=False)
    pairs = paired(sweep.ok[sweep.ok["memory"] != BASELINE], by_key)
    psnr = numeric(pairs["psnr_to_baseline_db"]).astype(float)
    shown = []
    for name in names:
        mine = psnr[pairs["memory"] == name].dropna()
        if mine.empty or mine.min() >= 100:
            continue
        worst = pairs[pairs.index == mine.idxmin()].iloc[0]
        two = [line.get("contact_sheet") for line in (worst, by_key.loc[worst["partner"]])]
        sheets = [sheet for sheet in two if isinstance(sheet, str)]
        target = f"differences/{worst['key']}.png"
        if len(sheets) == 2 and _write(sweep.folder, sheets, target):
            shown.append(Difference(name, str(worst["key"]), target, float(mine.min())))
    return shown


def _write(folder: Path, sheets: Sequence[str], target: str) -> bool:
    """Write the picture unless it is there and newer than both; False when a sheet cannot be read."""
    from PIL import ImageChops

    paths = [folder / sheet for sheet in sheets]
    path = folder / target
    try:
        if is_plain(path) and path.stat().st_mtime >= max(p.stat().st_mtime for p in paths):
            return True
        mine, base = map(_read, paths)
        if mine.size != base.size:
            return False
        with renamed_when_done(path) as part:
            ImageChops.difference(mine, base).point(lambda v: min(255, v * GAIN)).save(part, format="PNG")
    except (OSError, UserError):
        return False
    return True


def _read(path: Path) -> "Picture":
    with opened(path) as picture:
        return picture.convert("RGB")

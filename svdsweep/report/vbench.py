"""A sweep's videos laid out and named as VBench-I2V's evaluation wants them; VBench needs an environment of its own.

VBench-I2V (vbench2_beta_i2v of Vchitect/VBench) looks for `<prompt>-<0…4>.mp4` and for the image of each prompt in a
JSON of its own form. SVD has no prompt: the picture's name stands for it, and dimensions that judge a text are left
out."""

import json
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.config import Job
from svdsweep.errors import UserError
from svdsweep.images import open_image
from svdsweep.store.columns import asked_for, varying
from svdsweep.store.labels import rows_told_apart
from svdsweep.store.places import file_of
from svdsweep.store.rows import Row, Store
from svdsweep.store.vbench import DIMENSIONS, KEYS, OURS
from svdsweep.terminal import warn

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SAMPLES = 5
"""VBench looks for so many videos of a prompt."""
ADVICE = """\
Videos of a sweep, laid out for VBench-I2V; one folder a setting. Run from a checkout of Vchitect/VBench, in its own
environment:

{commands}

Read with care: dynamic_degree depends on the frame rate in the file, so compare equal fps only; temporal_flickering
means nothing on clips that move unless static_filter.py ran first; published means are over hundreds of images.

Each command ends with a file evaluation_i2v_results/results_<time>_eval_results.json. This brings them to the rows:

{join}
"""


def export(sweep_folder: Path, target: Path) -> list[str]:
    """Copy the videos of a sweep's finished jobs to `target`; returns the command for each of its folders.

    `target/<setting>/videos/<image>-<n>.mp4` (n counts the seeds), `images/<image>.png` as the pipeline saw it, and
    `full_info.json`. Raises UserError when there are no videos, too many seeds, or `target` is not empty."""
    rows = _with_video(sweep_folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} is not an empty folder; the export would mix with what is there.")
    cells = _cells(rows)
    names = _image_names([row.job for row in rows])
    for cell, members in cells.items():
        image, most = Counter(names[_identity(row.job)] for row in members).most_common(1)[0]
        if most > SAMPLES:
            raise UserError(
                f"VBench looks for at most {SAMPLES} videos of an image, and {cell} has {most} of {image}: narrow the "
                f"sweep to {SAMPLES} seeds."
            )
    commands = [_export_cell(sweep_folder, target / cell, members, names) for cell, members in cells.items()]
    (target / "README.txt").write_text(
        ADVICE.format(commands="\n".join(commands), join=_join(sweep_folder)),
        encoding="utf-8",
        errors="surrogateescape",
        newline="\n",
    )
    return commands


def _join(sweep_folder: Path) -> str:
    """The command that brings VBench's results to the rows."""
    sweep = shlex.quote(str(sweep_folder.resolve()))
    return f"svdsweep score {sweep} --vbench evaluation_i2v_results/*_eval_results.json"


def _with_video(folder: Path) -> list[Row]:
    store = Store(folder)
    rows = [row for row in rows_told_apart(store.rows().values()) if row.status == "ok"]
    warn(folder, store.faults)
    rows = [row for row in rows if file_of(folder, "videos", row.key)]
    if not rows:
        raise UserError(f"{folder}: no finished job with a video is stored there. Give a sweep, runs/NAME.")
    return rows


def _cells(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of each setting by the name of its folder: what varies, but for seed and image."""
    columns = [name for name in varying(row.job for row in rows) if name not in ("seed", "image")]
    cells: dict[str, list[Row]] = {}
    for row in rows:
        asked = asked_for(row.job)
        name = _safe(",".join(f"{column}={asked[column]}" for column in columns)) or "all"
        cells.setdefault(name, []).append(row)
    return cells


def _export_cell(sweep_folder: Path, folder: Path, rows: list[Row], names: dict[str, str]) -> str:
    """Write the videos, images and JSON of one setting; returns the command that judges them."""
    (folder / "videos").mkdir(parents=True)
    (folder / "images").mkdir()
    entries = []
    for identity in dict.fromkeys(_identity(row.job) for row in rows):
        same = sorted((r for r in rows if _identity(r.job) == identity), key=lambda r: r.job.seed)
        job, name = same[0].job, names[identity]
        picture = folder / "images" / f"{name}.png"
        _picture(job).save(picture)
        keys = {f"{name}-{number}.mp4": row.key for number, row in enumerate(same)}
        for video, key in keys.items():
            shutil.copyfile(sweep_folder / "videos" / f"{key}.mp4", folder / "videos" / video)
        place = str(picture.resolve())
        entry = {"prompt_en": name, "dimension": [*DIMENSIONS], "custom_image_path": place, KEYS: keys}
        entries.append(entry)
    info = folder / OURS
    info.write_text(
        json.dumps(entries, indent=1, ensure_ascii=False),
        encoding="utf-8",
        errors="surrogateescape",
        newline="\n",
    )
    words = ["python", "evaluate_i2v.py", "--videos_path", str((folder / "videos").resolve())]
    words += ["--full_json_dir", str(info.resolve()), "--dimension", *DIMENSIONS]
    return shlex.join(words)


def _picture(job: Job) -> "Picture":
    """The picture that a row names, which may lie anywhere: only if it is the one that the row was made from.

    Raises UserError for any other file: a row of somebody else's may name what is none of its business."""
    share = job.image.path.startswith(("//", "\\\\"))  # another machine would be asked
    if not job.image.sha256 or share:
        raise UserError(
            f"{job.key}: its row does not tell the content of {job.image.path}, so that file is not opened."
        )
    return open_image(job.image, job.height, job.width)


def _identity(job: Job) -> str:
    """What tells pictures apart: their content, else their path."""
    return job.image.sha256 or job.image.path


def _image_names(jobs: list[Job]) -> dict[str, str]:
    """A name for each picture; two of one name are told apart by their content's hash."""
    plain = {_identity(job): _safe(job.image.name or Path(job.image.path).stem) for job in jobs}
    shared = {name for name in plain.values() if list(plain.values()).count(name) > 1}
    return {key: f"{name}-{key[:8]}" if name in shared else name for key, name in plain.items()}


def _safe(text: str) -> str:
    return re.sub(r"[^\w.,=+-]+", "_", text)

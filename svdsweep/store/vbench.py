"""VBench-I2V's results, a file of another program: which columns they are, and which job each judged video is of.

`evaluate_i2v.py` of Vchitect/VBench writes `<name>_eval_results.json`, {dimension: [mean, [{"video_path": …,
"video_results": …}, …]]}, and beside it `<name>_full_info.json` with the entries that it was given."""

import errno
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from svdsweep.errors import UserError, some
from svdsweep.store.columns import Column
from svdsweep.store.places import ENDINGS, is_plain

PREFIX = "vbench_"
COLUMNS = (
    Column("vbench_i2v_subject", "cosine", better="higher", low=0, high=1, headline=3,
           help="VBench: likeness of DINO's features to the conditioning image (0.4 × the most like frame) and "
                "between neighbours (0.3 × mean, 0.3 × the least).",
           blind_to="Motion: a standing picture is perfect."),
    Column("vbench_i2v_background", "likeness", better="higher", low=0, high=1,
           help="VBench: the same of DreamSim's features.",
           blind_to="As vbench_i2v_subject."),
    Column("vbench_subject_consistency", "cosine", better="higher", low=0, high=1,
           help="VBench: mean likeness of DINO's features to the frame before and to the first.",
           blind_to="As vbench_i2v_subject."),
    Column("vbench_background_consistency", "cosine", better="higher", low=0, high=1,
           help="VBench: the same of CLIP's features (ViT-B/32) of the whole frame.",
           blind_to="As vbench_i2v_subject; texture and flicker."),
    Column("vbench_motion_smoothness", "of the range", better="higher", low=0, high=1,
           help="VBench: 1 less the mean difference of every other frame from the one that AMT interpolates.",
           blind_to="As vbench_i2v_subject."),
    Column("vbench_temporal_flickering", "of the range", better="higher", low=0, high=1,
           help="VBench: 1 less the mean difference of neighbouring frames.",
           blind_to="Motion and flicker are one to it: means nothing unless static_filter.py ran first."),
    Column("vbench_dynamic_degree", "", low=0, high=1, headline=3,
           help="VBench: 1 where RAFT's fastest 5 % pass a threshold in a quarter of the pairs, else 0.",
           blind_to="The file's frame rate changes it: compare equal fps only."),
    Column("vbench_aesthetic_quality", "of 1", better="higher", low=0, high=1,
           help="VBench: LAION's aesthetic score, a tenth of it, mean over the frames.",
           blind_to="Everything between frames; mostly the conditioning image's own."),
    Column("vbench_imaging_quality", "of 1", better="higher", low=0, high=1, headline=3,
           help="VBench: MUSIQ's score over 100, mean over the frames: noise, blur, exposure.",
           blind_to="Everything between frames; mostly the conditioning image's own."),
)  # fmt: skip
"""Ranges and units as VBench's own mean has them (vbench/*.py and vbench2_beta_i2v/*.py of March 2026)."""
DIMENSIONS = tuple(column.name.removeprefix(PREFIX) for column in COLUMNS)
"""Those of VBench-I2V but `camera_motion`, which judges a text."""
OVER = {"imaging_quality": 100}
"""What a video's own score is divided by to be on the scale of the mean."""
ROUNDING = 1e-3
"""By how much a cosine may pass 1."""
RESULTS, INFO, OURS = "_eval_results.json", "_full_info.json", "full_info.json"
KEYS = "svdsweep_keys"
"""Where an entry of the export's `full_info.json` has the key of each video's job; VBench copies it as it is."""
LARGEST_BYTES = 16 * 2**20
"""Of a file of results: 50 000 scores of videos take 12 MB."""


@dataclass
class Joined:
    """The columns of each job that VBench judged, by key; videos that are of no job here, by name; the dimensions that
    are none of `DIMENSIONS`."""

    columns: dict[str, dict[str, float]] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    other_dimensions: list[str] = field(default_factory=list)


def join(files: Sequence[Path], keys: set[str]) -> Joined:
    """The scores of some files of results by the `keys` of a sweep's jobs.

    Raises UserError for a file that holds no such results, for two scores of one job in one dimension, and where
    nothing tells which job any video is of."""
    joined, told = Joined(), False
    infos: dict[Path, Mapping[str, str]] = {}
    for file in files:
        scores, others = read_results(file)
        joined.other_dimensions += [name for name in others if name not in joined.other_dimensions]
        for video, columns in scores.items():
            key = _key_of(video, file, keys, infos)
            told = told or key is not None
            if key not in keys:
                joined.unmatched.append(_name(video))
                continue
            mine = joined.columns.setdefault(str(key), {})
            if twice := sorted(mine.keys() & columns.keys()):
                raise UserError(
                    f"{file}: {_name(video)} has a second {twice[0].removeprefix(PREFIX)}. Give the results of each "
                    "folder of videos once."
                )
            mine.update(columns)
    if not told:
        raise UserError(
            f"{some([str(f) for f in files], 2)}: nothing tells which jobs these videos are of. Leave <name>{INFO}, "
            f"which VBench writes beside <name>{RESULTS}, where it is, or the export that was judged; videos that are "
            "named by their jobs' keys need neither."
        )
    return joined


def read_results(file: Path) -> tuple[dict[str, dict[str, float]], list[str]]:
    """The columns of each video by its path, and the dimensions that are none of `DIMENSIONS`. Raises UserError for
    what is no such file; a score that is NaN, which VBench writes where it had nothing to judge, is left out."""
    plain = _dimensions(file)
    scores: dict[str, dict[str, float]] = {}
    for name in (dimension for dimension in DIMENSIONS if dimension in plain):
        part = plain[name]
        videos = part[-1] if isinstance(part, list) and len(part) > 1 else None
        if not isinstance(videos, list):
            raise _no_results(file, f"its {name} is no list of a mean and of videos")
        entries = [_entry(file, name, entry) for entry in videos]
        if len(dict(entries)) < len(entries):
            raise _no_results(file, f"its {name} has a video twice")
        for video, score in entries:
            columns = scores.setdefault(video, {})
            if not math.isnan(score):
                columns[PREFIX + name] = score
    return scores, [str(name)[:50] for name in plain if name not in DIMENSIONS]


def _dimensions(file: Path) -> dict[str, Any]:
    """What a file of results holds of each dimension. Raises UserError."""
    try:
        plain = _json(file)
    except FileNotFoundError as e:
        raise UserError(
            f"{file}: there is no such file. --vbench wants the <name>{RESULTS} of VBench-I2V."
        ) from e
    except (OSError, ValueError, RecursionError) as e:
        why = e.strerror if isinstance(e, OSError) and e.strerror else type(e).__name__
        raise _no_results(file, f"it cannot be read as JSON ({why})") from e
    if not isinstance(plain, dict) or not set(plain) & set(DIMENSIONS):
        raise _no_results(file, f"it has none of {', '.join(DIMENSIONS)}")
    return plain


def _entry(file: Path, dimension: str, entry: Any) -> tuple[str, float]:
    """A video's path and score on the scale of the column. Raises UserError."""
    video = entry.get("video_path") if isinstance(entry, dict) else None
    score = entry.get("video_results") if isinstance(entry, dict) else None
    if not isinstance(video, str) or not isinstance(score, bool | int | float):
        raise _no_results(file, f"its {dimension} holds something else than a video_path and video_results")
    most = OVER.get(dimension, 1)
    if score == score and not -ROUNDING <= score <= most + ROUNDING:
        raise _no_results(file, f"the {dimension} of {_name(video)} is not between 0 and {most}")
    return video, float(score) / most


def _json(file: Path) -> Any:
    """What a file of JSON says. Raises OSError, and ValueError or RecursionError for what is none or is too large."""
    if file.stat().st_size > LARGEST_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {LARGEST_BYTES >> 20} MiB")
    return json.loads(file.read_bytes())


def _no_results(file: Path, why: str) -> UserError:
    return UserError(
        f"{file} holds no results of VBench-I2V: {why}. --vbench wants the <name>{RESULTS} that its evaluate_i2v.py "
        'writes: {dimension: [mean, [{"video_path": …, "video_results": …}, …]]}.'
    )


def _key_of(video: str, results: Path, keys: set[str], infos: dict[Path, Mapping[str, str]]) -> str | None:
    """The key of a video's job: its name, or what the export wrote of it; None where nothing tells. `infos` keeps
    what was read of each file."""
    name = _name(video)
    if name.removesuffix(ENDINGS["videos"]) in keys:
        return name.removesuffix(ENDINGS["videos"])
    places = [results.with_name(results.name.removesuffix(RESULTS) + INFO)]
    if not video.startswith(("//", "\\\\")):  # another machine would be asked
        places.append(Path(video).parent.parent / OURS)
    for place in places:
        if place not in infos:
            infos[place] = _keys_in(place)
        if name in infos[place]:
            return infos[place][name]
    return None


def _keys_in(info: Path) -> Mapping[str, str]:
    """The key of each video by its name, from a `full_info.json` that `export` wrote or VBench copied; empty for any
    other file."""
    try:
        entries = _json(info) if is_plain(info) else []
    except (OSError, ValueError, RecursionError):
        return {}
    told = [e.get(KEYS) for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    return {str(name): str(key) for each in told if isinstance(each, dict) for name, key in each.items()}


def _name(video: str) -> str:
    """The name of a file whose path may be another system's."""
    return PurePosixPath(video.replace("\\", "/")).name

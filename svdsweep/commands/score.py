"""`svdsweep score`: the metrics of any video or folder of frames; and VBench's, brought to the rows of a sweep."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svdsweep.commands.request import Parser
from svdsweep.commands.vbench import join_vbench
from svdsweep.errors import DONE, WRONG_INPUT, UserError
from svdsweep.metrics import COLUMNS, Context, headlines, score
from svdsweep.store.defects import standing_still, unlit_frames
from svdsweep.store.measurements import Measurements
from svdsweep.terminal import cell, table, visible

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ABOUT = """\
Measure how consistent a video is: flicker with the motion taken out, motion, likeness to the image that it was made
from, drift of colour and sharpness, broken frames. Needs no weights and no GPU."""
EPILOG = """\
A compressed video has lost some of what is measured: where you have the
frames, give those. What each metric sees, and what it is blind to, is in
svdsweep/metrics/README.md.

examples
  svdsweep score video.mp4 --image picture.png
  svdsweep export runs/x --to vbench --into judged    (and run what it prints)
  svdsweep score runs/x --vbench evaluation_i2v_results/*_eval_results.json
"""
PRESETS = {"fast": "", "full": "LPIPS", "perceptual": "ST-LPIPS"}
"""What each preset of metrics adds to `fast` for a clip alone."""
OF_SWEEPS = ("clip", "baseline", "cvvdp")
"""Families that need a sweep's pipeline or baseline."""


@dataclass(frozen=True)
class Judged:
    """A clip and what the metrics say of it."""

    path: Path
    frames: int
    height: int
    width: int
    scores: Measurements

    def plain(self) -> dict[str, Any]:
        """The clip as JSON has it."""
        size = {"frames": self.frames, "height": self.height, "width": self.width}
        return {"input": str(self.path), **size, **asdict(self.scores)}


def main(argv: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit code: 0, or 2 when an input was of no use (the others are shown)."""
    asked = parser().asked(argv)
    if asked.vbench:
        return join_vbench(asked.inputs, asked.vbench, asked.json)
    if not asked.inputs:
        raise UserError(
            "score wants a video, a folder of frames or of videos; `svdsweep score --help` tells more."
        )
    judged, problems = judge_all(asked)
    for problem in problems:
        print(visible(f"svdsweep score: {problem}"), file=sys.stderr)
    if asked.json:
        document = [one.plain() for one in judged]
        print(json.dumps(document, allow_nan=False, indent=1))
    elif judged:
        print(visible(one_table(judged[0]) if len(judged) == 1 else lines_table(judged)))
    return WRONG_INPUT if problems else DONE


def parser() -> Parser:
    """The arguments of `svdsweep score`."""
    p = Parser("score", ABOUT, EPILOG)
    about = ", ".join(f"{name}: {more} too" for name, more in PRESETS.items() if more)
    add = p.add_argument
    add("inputs", nargs="*", type=Path, metavar="CLIP", help="a video, a folder of frames, or of videos")
    add("--image", type=Path, metavar="FILE", help="the picture it was made from; cropped and resized to it")
    add("--metrics", default="fast", choices=[*PRESETS], help=f"{about} (default: fast)")
    add("--weights-dir", type=Path, metavar="DIR", help="folder with the weight file of LPIPS")
    add("--decode-chunk-size", type=int, metavar="N", help="look for seams between chunks of N frames")
    add("--device", default="cpu", help="where to compute: cpu (default), cuda, cuda:1, xpu, mps")
    add("--threads", type=int, default=1, metavar="N", help="CPU threads (default: 1)")
    add("--frames", type=int, default=128, metavar="N", help="read at most so many frames (default: 128)")
    about_vbench = (
        "bring what VBench-I2V found of an exported sweep to the rows of that sweep (CLIP: runs/NAME)"
    )
    add("--vbench", nargs="+", type=Path, action="extend", metavar="RESULTS", help=about_vbench)
    p.add_json("one JSON document on standard output, with values per frame")
    return p


def judge_all(arguments: Namespace) -> tuple[list[Judged], list[str]]:
    """Every clip that the arguments name, and a sentence for each that cannot be judged. Raises UserError when nothing
    can be."""
    import torch

    from svdsweep.metrics.shared.files import clips_in

    for flag, value in (("--frames", arguments.frames - 1), ("--threads", arguments.threads)):
        if value < 1:
            raise UserError(f"{flag} is too small: at least {2 if flag == '--frames' else 1}.")
    if arguments.decode_chunk_size is not None and arguments.decode_chunk_size < 1:
        raise UserError(f"--decode-chunk-size {arguments.decode_chunk_size} is not possible: at least 1.")
    _check_device(arguments.device)
    torch.set_num_threads(arguments.threads)
    judged, problems = [], []
    for given in arguments.inputs:
        try:
            clips = clips_in(given)
        except UserError as e:
            problems.append(str(e))
            continue
        for path in clips:
            try:
                judged.append(judge(path, arguments))
            except UserError as e:
                problems.append(str(e))
    return judged, problems


def judge(path: Path, arguments: Namespace) -> Judged:
    """A clip's scores. Raises UserError, one sentence, when it cannot be read."""
    from svdsweep.metrics.shared.files import read

    clip = read(path, arguments.frames)
    count, height, width = clip.frames.shape[:3]
    asked = (arguments.metrics, arguments.decode_chunk_size, arguments.device, arguments.weights_dir)
    scores = scores_of(clip.frames, arguments.image, *asked)
    if wrong := unlit_frames(scores.values, count) or standing_still(scores.values, count):
        scores.notes.insert(0, f"{wrong} Such a clip wins every comparison of consistency and means nothing")
    if clip.cut_short:
        scores.notes.append(f"only the first {count} frames were read (--frames)")
    return Judged(path, count, height, width, scores)


def scores_of(
    frames: "NDArray[np.uint8]",
    image: str | Path | None,
    metrics: str,
    decode_chunk_size: int | None,
    device: str,
    weights_dir: str | Path | None,
) -> Measurements:
    """The metrics of `conf/metrics/<metrics>.yaml` for frames (F, H, W, 3), `image` cropped and resized to them."""
    import numpy as np

    from svdsweep.config import Image
    from svdsweep.images import open_image

    height, width = frames.shape[1:3]
    context = Context(
        image=np.asarray(open_image(Image(path=str(image)), height, width)) if image else None,
        decode_chunk_size=decode_chunk_size,
        device=device,
        weights_dir=Path(weights_dir) if weights_dir else None,
    )
    return score(frames, context, families_of(metrics))


def families_of(preset: str) -> list[str]:
    """The families of `conf/metrics/<preset>.yaml` that a file alone can answer."""
    from omegaconf import OmegaConf

    from svdsweep.grid.presets import CONF

    families: list[str] = list(OmegaConf.load(CONF / "metrics" / f"{preset}.yaml").families)
    return [name for name in families if name not in OF_SWEEPS]


def one_table(judged: Judged) -> str:
    """Every number about a clip with its unit, what is better, and what it is; what is said in words follows."""
    values = {name: value for name, value in judged.scores.values.items() if value is not None}
    words = [f"{name}: {value}" for name, value in values.items() if isinstance(value, str)]
    lines = []
    for name, value in values.items():
        if not isinstance(value, str):
            column = COLUMNS[name]
            meaning = column.help.partition(". ")[0].partition(": ")[0].rstrip(".")
            lines.append([name, cell(value), column.unit, column.better or "", meaning])
    head = f"{judged.path}: {judged.frames} frames, {judged.width}×{judged.height}"
    header = ["metric", "value", "unit", "better", "what it is"]
    body = table(header, lines, [False, True, False, False, False])
    return "\n".join([head, body, *words, *(f"note: {note}" for note in judged.scores.notes)])


def lines_table(judged: Sequence[Judged]) -> str:
    """A line a clip with the headline metrics that some clip has: consistency beside motion, coverage and sharpness."""
    values = [one.scores.values for one in judged]
    names = [n for n in headlines(values[0], 1) if any(v.get(n) is not None for v in values)]
    names.sort(key=lambda name: -COLUMNS[name].headline)
    lines = [[str(j.path), str(j.frames), *(cell(j.scores.values.get(n)) for n in names)] for j in judged]
    notes = dict.fromkeys(f"note: {one.path.name}: {note}" for one in judged for note in one.scores.notes)
    right = [False] + [True] * (len(names) + 1)
    return "\n".join([table(["clip", "frames", *names], lines, right), *notes])


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as e:
        raise UserError(f"--device {device}: PyTorch cannot use it here. cpu always works.") from e

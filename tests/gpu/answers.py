"""What the steps of first_light.py say to what was asked of the first GPU: a line each, yes, no or not measured, with
the figures.

    python tests/gpu/answers.py FOLDER          # writes FOLDER/first_light.md anew"""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from svdsweep.store.rows import Row, Store

FILE = "first_light.md"
STAGES = ("image_encode", "vae_encode", "denoise", "vae_decode")
UNET_WITHIN, DECODE_WITHIN = 0.05, 0.10
FASTER, SMALLEST_SLOWER, STREAMED_SLOWER = 1.8, 2.5, 1.5
SMALLEST_GIB = 3.0
LIBRARIES_GIB = 0.05
"""Workspaces that cuBLAS keeps."""
SUM_WITHIN = 0.20


@dataclass(frozen=True)
class Answer:
    """A question, its verdict (yes, no, or why it is open) and the figures behind it."""

    question: str
    verdict: str
    figures: str


class Measured:
    """What lies in the folder of the steps, as far as they came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        probes = folder / "probes.json"
        self.probes: dict[str, Any] = (
            json.loads(probes.read_text(encoding="utf-8")) if probes.exists() else {}
        )
        self.sweeps = {
            sweep.name: list(Store(sweep).rows().values())
            for sweep in sorted(folder.iterdir())
            if (sweep / "rows").is_dir()
        }

    def row(self, memory: str, sweep: str = "first_light") -> Row | None:
        """The row of a strategy in a sweep, whatever its status."""
        return next((r for r in self.sweeps.get(sweep, []) if r.job.memory.name == memory), None)

    def value(self, memory: str, column: str, sweep: str = "first_light") -> float | None:
        """A number of a row that ended well."""
        row = self.row(memory, sweep)
        return _number(row.values.get(column)) if row and row.status == "ok" else None

    def ratio(
        self, memory: str, column: str, other: str = "baseline", sweep: str = "first_light"
    ) -> float | None:
        """Of two strategies' numbers in a sweep."""
        mine, theirs = self.value(memory, column, sweep), self.value(other, column, sweep)
        return mine / theirs if mine is not None and theirs else None

    def predictions(self) -> list[dict[str, str]]:
        """The lines of the main sweep's table of predictions."""
        path = self.folder / "first_light" / "predictions.csv"
        if not path.exists():
            return []
        with path.open(encoding="utf-8", newline="") as f:
            return list(csv.DictReader(f))


def all_rows(measured: Measured) -> Iterator[Answer]:
    """How every job ended."""
    for sweep, rows in measured.sweeps.items():
        for row in rows:
            said = [row.error.splitlines()[0]] if row.error else []
            figures = "; ".join([*_figures(row), *said, *(n for n in row.notes if "attention, " not in n)])
            yield Answer(f"{sweep}: {row.job.memory.name}", row.status, figures)


def fastest(measured: Measured) -> Iterator[Answer]:
    """A step and a decode of `fastest` and `fastest_aggressive` against those of the baseline."""
    for memory in ("fastest", "fastest_aggressive"):
        step, decode, run = (
            measured.ratio("baseline", column, memory, "fastest")
            for column in ("step_s", "vae_decode_s", "total_s")
        )
        yield Answer(
            f"{memory}: a step and the decode at least {FASTER} times as fast as the baseline's?",
            _all(None if x is None else x >= FASTER for x in (step, decode)),
            f"step {_x(step)}, decode {_x(decode)}, whole run {_x(run)} "
            f"({_n(measured.value(memory, 'denoise_steps', 'fastest'), 'steps')} against "
            f"{_n(measured.value('baseline', 'denoise_steps', 'fastest'), 'steps')}); "
            f"PSNR to the baseline {_n(measured.value(memory, 'psnr_to_baseline_db', 'fastest'), 'dB')}; compiling "
            f"{_n(measured.value(memory, 'compile_s', 'fastest'), 's')}",
        )


def norms(measured: Measured) -> Iterator[Answer]:
    """What sums of each channel do to the norms of `fastest`."""
    step, decode = (
        measured.ratio("fastest+norms_by_channel=False", column, "fastest", "fastest")
        for column in ("step_s", "vae_decode_s")
    )
    yield Answer(
        "norms_by_channel: are a step and the decode of fastest faster with it than without?",
        _all(None if x is None else x > 1 for x in (step, decode)),
        f"step {_x(step)}, decode {_x(decode)}",
    )


def smallest(measured: Measured) -> Iterator[Answer]:
    """The strategy for small cards: under a cap, its peak, its time, its frames."""
    capped = measured.row("smallest", "capped")
    yield Answer(
        "smallest: does it run under a cap of 4 GiB?",
        _verdict(None if capped is None else capped.status == "ok"),
        f"{capped.status}, {'; '.join(_figures(capped))} {capped.error[:200]}" if capped else "",
    )
    peak = measured.value("smallest", "vram_allocated_peak_gib")
    yield Answer(
        f"smallest: less than {SMALLEST_GIB} GiB allocated?",
        _verdict(None if peak is None else peak < SMALLEST_GIB),
        _n(peak, "GiB"),
    )
    ratio = measured.ratio("smallest", "total_s")
    yield Answer(
        f"smallest: at most {SMALLEST_SLOWER} times the baseline's time?",
        _verdict(None if ratio is None else ratio <= SMALLEST_SLOWER),
        f"{_x(ratio)}; a step {_x(measured.ratio('smallest', 'step_s'))}, the decode "
        f"{_x(measured.ratio('smallest', 'vae_decode_s'))} (suspected: parts of transformer blocks defeat prefetching)",
    )
    for memory in ("smallest", "streamed_decode"):
        row = measured.row(memory)
        equality = row.values.get("equality") if row else None
        yield Answer(
            f"{memory}: are the frames the baseline's, up to rounding?",
            _verdict(None if equality is None else equality in ("exact", "equivalent")),
            f"{equality}, PSNR {_n(measured.value(memory, 'psnr_to_baseline_db'), 'dB')}, largest difference "
            f"{_n(measured.value(memory, 'max_abs_diff_to_baseline'), 'levels')}, latents equal: "
            f"{row.values.get('latents_bit_equal_to_baseline') if row else None}",
        )


def streamed(measured: Measured) -> Iterator[Answer]:
    """The streamed decode's time beside one in chunks of eight."""
    ratio = measured.ratio("streamed_decode", "vae_decode_s", "chunked_decode")
    yield Answer(
        f"streamed decode: at most {STREAMED_SLOWER} times as long as one in chunks of eight?",
        _verdict(None if ratio is None else ratio <= STREAMED_SLOWER),
        f"{_x(ratio)}; {_n(measured.value('streamed_decode', 'vae_decode_s'), 's')} against "
        f"{_n(measured.value('chunked_decode', 'vae_decode_s'), 's')}, whole "
        f"{_n(measured.value('baseline', 'vae_decode_s'), 's')}",
    )


def peaks(measured: Measured) -> Iterator[Answer]:
    """Predicted peaks of VRAM, by stage, against those measured; what is compiled is predicted as if it were not, and
    so is told apart."""
    lines = [line for line in measured.predictions() if line["stage"] in STAGES]
    for stage in STAGES:
        within = DECODE_WITHIN if stage == "vae_decode" else UNET_WITHIN
        as_run, compiled = [], []
        for line in (line for line in lines if line["stage"] == stage):
            gib, foreseen = float(line["measured_gib"]), float(line["predicted_gib"])
            row = measured.row(line["memory"])
            figures = f"{line['memory']} {gib:.2f} of {foreseen:.2f} GiB ({gib - foreseen:+.2f})"
            if row and row.job.memory.compile != "none":
                compiled.append(figures)
            else:
                as_run.append((abs(gib - foreseen) <= max(within * foreseen, LIBRARIES_GIB), figures))
        yield Answer(
            f"{stage}: are measured peaks within {within:.0%} (or {LIBRARIES_GIB} GiB) of the predicted ones?",
            _all(close for close, _ in as_run),
            "; ".join([figures for _, figures in as_run])
            + (f"; predicted as if it were not compiled: {'; '.join(compiled)}" if compiled else ""),
        )


def sums(measured: Measured) -> Iterator[Answer]:
    """Whether the time of a whole run is what its parts, measured in a shorter one, add up to."""
    row = measured.row("baseline", "whole_run")
    step, *others = (
        measured.value("baseline", c) for c in ("step_s", "image_encode_s", "vae_encode_s", "vae_decode_s")
    )
    total = measured.value("baseline", "total_s", "whole_run")
    if row is None or total is None or step is None or None in others:
        yield Answer("the time of a whole run: encode + steps × step + decode?", _verdict(None), _error(row))
        return
    expected = sum(x or 0.0 for x in others) + row.job.num_inference_steps * step
    yield Answer(
        f"the time of a whole run: within {SUM_WITHIN:.0%} of encode + steps × step + decode?",
        _verdict(abs(total / expected - 1) <= SUM_WITHIN),
        f"{row.job.num_inference_steps} steps: {total:.2f} s, expected {expected:.2f} s",
    )


def warm(measured: Measured) -> Iterator[Answer]:
    """How much longer the first run of a process takes than the second (suspected: libraries start inside it)."""
    for row in measured.sweeps.get("first_light", []):
        first, timed = row.series.get("warmup_s", []), row.series.get("total_s", [])
        whole = (
            "latency_shared_with" not in row.values
        )  # else the first is a decode, and the other a whole run
        if first and timed and whole and row.job.memory.compile == "none":
            yield Answer(
                f"{row.job.memory.name}: is a first run, as measure=quick times it, within 5 % of the second?",
                _verdict(first[0] <= 1.05 * timed[0]),
                f"{first[0]:.2f} s, then {timed[0]:.2f} s ({first[0] - timed[0]:+.2f} s)",
            )


def waits(measured: Measured) -> Iterator[Answer]:
    """What the framework takes between two timed regions."""
    rows = [row for rows in measured.sweeps.values() for row in rows if row.values.get("judge_s") is not None]
    for column in ("judge_s", "idle_s"):
        known = [
            f"{row.job.memory.name} {row.values[column]:.2f} s"
            for row in rows
            if isinstance(row.values.get(column), float)
        ]
        yield Answer(f"{column} of the rows", "measured" if known else "not measured", ", ".join(known))


def kernels(measured: Measured) -> Iterator[Answer]:
    """The probes' answers, and the kernels that `fastest` took."""
    conv = measured.probes.get("large_convolution", {})
    for layout in ("channels first", "channels last"):
        found = conv.get(layout)
        right = found and max(found["largest difference"]) <= 0.01 * found["largest value"]
        quick = found and found["ms"] <= 1.5 * found["ms of one frame times frames"]
        yield Answer(
            f"a convolution of {conv.get('elements', 0):,} elements, {layout}: right at both ends, and no slower than "
            "frame by frame?",
            _all((right, quick)) if found else _verdict(None),
            f"{found['ms']:.1f} ms, frame by frame {found['ms of one frame times frames']:.1f} ms, largest difference "
            f"{max(found['largest difference']):.2g} of {found['largest value']:.2g}"
            if found
            else str(conv.get("failed", "")),
        )
    for name in ("spatial", "temporal"):
        found = measured.probes.get("attention", {}).get(name)
        yield Answer(
            f"{name} attention: is PyTorch's own choice the fastest kernel, within 3 %?",
            _verdict(None if not found else found["chosen"] == "default"),
            f"takes {found['default runs']}; ms: " + ", ".join(f"{k} {v:.3g}" for k, v in found["ms"].items())
            if found
            else str(measured.probes.get("attention", {}).get("failed", "")),
        )
    temporal = measured.probes.get("temporal_convolution", {})
    beyond = temporal.get("workspace_gib")
    yield Answer(
        "a convolution over time: by cuDNN, without a copy for each tap?",
        _verdict(None if beyond is None else beyond < 1),
        f"{temporal['ms']:.2f} ms, {beyond:.2f} GiB beyond input and output, cuDNN {temporal['cudnn']}"
        if beyond is not None
        else str(temporal),
    )
    compiled = measured.probes.get("compiler", {})
    yield Answer(
        "does torch.compile find its tools?",
        _verdict("seconds" in compiled if compiled else None),
        f"two lines in {compiled['seconds']:.1f} s"
        if "seconds" in compiled
        else str(compiled.get("failed", "")),
    )
    for memory in ("fastest", "fastest_aggressive"):
        row = measured.row(memory, "fastest")
        for note in [n for n in (row.notes if row else []) if n.startswith("attention, ")]:
            yield Answer(f"{memory}: {note.partition(':')[0]}", "measured", note.partition(": ")[2])


def graphs(measured: Measured) -> Iterator[Answer]:
    """Two pictures in a row under CUDA graphs."""
    rows = [r for r in measured.sweeps.get("cuda_graphs", []) if r.job.memory.name == "cuda_graphs"]
    yield Answer(
        "cuda_graphs: do two pictures in a row work (tiny model)?",
        _verdict(all(row.status == "ok" for row in rows) and len(rows) == 2 if rows else None),
        "; ".join(
            f"{row.job.image.name} {row.status}, PSNR to the baseline "
            f"{_n(_number(row.values.get('psnr_to_baseline_db')), 'dB')} {row.error}"
            for row in rows
        ),
    )


SECTIONS: tuple[tuple[str, tuple[Callable[[Measured], Iterator[Answer]], ...]], ...] = (
    ("What the strategies promise", (fastest, norms, smallest, streamed, graphs)),
    ("What is predicted", (peaks, sums)),
    ("What was suspected", (kernels, warm)),
    ("What the framework takes", (waits,)),
    ("Every job", (all_rows,)),
)


def text(measured: Measured) -> str:
    """The answers as Markdown."""
    versions = measured.probes.get("versions", {})
    where = ", ".join(
        f"{name} {versions[name]}"
        for name in ("gpu", "driver", "cuda", "cudnn", "torch", "diffusers", "transformers", "python")
        if versions.get(name)
    )
    lines = ["# First light", "", f"{where or 'No probe has answered yet.'}", ""]
    for title, questions in SECTIONS:
        lines += [f"## {title}", "", "| question | answer | figures |", "|---|---|---|"]
        for question in questions:
            lines += [
                f"| {_cell(a.question)} | {_cell(a.verdict)} | {_cell(a.figures)} |"
                for a in question(measured)
            ]
        lines.append("")
    steps = measured.folder / "steps.txt"
    if steps.exists():
        told = [line for line in steps.read_text(encoding="utf-8").splitlines() if not line.endswith("…")]
        lines += ["## Steps", "", "```", *told, "```", ""]
    return "\n".join(lines)


def write(folder: Path) -> None:
    """`first_light.md` in the folder of the steps."""
    (folder / FILE).write_text(text(Measured(folder)), encoding="utf-8")


def _figures(row: Row) -> list[str]:
    columns = {
        "total_s": "s",
        "step_s": "s a step",
        "vae_decode_s": "s decode",
        "load_s": "s load",
        "vram_allocated_peak_gib": "GiB allocated",
        "vram_reserved_peak_gib": "GiB reserved",
        "vram_process_peak_gib": "GiB of the process",
    }
    return [
        f"{value:.3g} {unit}"
        for name, unit in columns.items()
        if isinstance(value := row.values.get(name), float)
    ]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _error(row: Row | None) -> str:
    return f"{row.status}: {row.error}" if row and row.status != "ok" else ""


def _verdict(holds: bool | None) -> str:
    return "not measured" if holds is None else "yes" if holds else "no"


def _all(parts: Any) -> str:
    known = list(parts)
    return _verdict(None if None in known or not known else all(known))


def _x(ratio: float | None) -> str:
    return "–" if ratio is None else f"× {ratio:.2f}"


def _n(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:.4g} {unit}"


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

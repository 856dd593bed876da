"""Sweeps as an enemy would make them: rows, manifests, claims and file names, spoilt at random, and a watch on what is
opened elsewhere."""

import contextlib
import json
import os
import sys
from pathlib import Path

from filenames import spelled_here
from hypothesis import strategies as st
from PIL import Image as Pictures

ELSEWHERE = "elsewhere"
"""The folder beside the sweep that nothing may lead to."""
# fmt: off
RAW = ("NaN", "-Infinity", "1e999", "1" * 400, '"\\ud800"', "[" * 2000 + "]" * 2000, '{"a":1,"a":2}', "tru", "")
"""What stands in a file as it is, for JSON has no such value, or should not have."""
TEXTS = (
    *("", "x", "ok", "NaN", "1e5", "-0", "null", "true", "auto", "all", "tiny", "stranger.apply", "os.path"),
    *("$\\frac{$", "=cmd|' /C calc'!A0", "@x", "+1-1", "\t=1", "\x1b[2J\x07\r\n", "\u202eabc", "<script>x</script>"),
    *("\0", "_x", "a" * 6000, "é😀\u2028", "../../elsewhere/shadow", "/etc/passwd", "~/.ssh/id_rsa", "${oc.env:HOME}"),
    *("//host/share/x.mp4", "\\\\host\\share\\x", "C:\\x", "videos/../../elsewhere/shadow", "file:///etc/passwd"),
    *("{elsewhere}/shadow", "{elsewhere}/white.png", "{elsewhere}", "sheets/link.png", "videos/link.mp4", "%s%n"),
)
# fmt: on
NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 1.5, -0.0, 1e-300, 5e-324, 1e16, 1e300, -1e308),
    *(2**31, 2**53 + 1, 2**63, 2**64, -(2**63)),
)
NAMES = (
    *(*TEXTS[:6], "seed", "memory", "model", "status", "total_s", "workload", "machine", "key", "gpu"),
    *("a b", "=x", "schema", "crc32"),
)
FILES = (
    *("a-1.jsonl", "\n.jsonl", "-rf.jsonl", "=x.jsonl", "$(id).jsonl", "%2e%2e.jsonl"),
    *("x" * 240 + ".jsonl", "..jsonl", ".jsonl", *spelled_here("é😀.jsonl")),
)

LETTERS = st.text("ab1 .$=\\\0\x1b\u202e😀\"'/_-", max_size=6)
scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(TEXTS), LETTERS)
raw = st.sampled_from([f"@raw{i}@" for i in range(len(RAW))])
values = st.recursive(
    scalars | raw,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | LETTERS, inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def spoilt(draw, plain):
    """A JSON document with some of its parts replaced, taken away or added."""
    document = json.loads(json.dumps(plain))
    for _ in range(draw(st.integers(0, 4))):
        parts = (
            [part for part in document.values() if isinstance(part, dict)]
            if isinstance(document, dict)
            else []
        )
        place, name = draw(st.sampled_from([document, *parts])), None
        while isinstance(place, dict | list) and len(place):
            names = sorted(place) if isinstance(place, dict) else range(len(place))
            holder, name = place, draw(st.sampled_from(list(names)))
            place = holder[name]
            if draw(st.integers(0, 2)) == 0:
                break
        if name is None:
            return draw(values)
        act = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
        if act == "remove":
            del holder[name]
        elif act == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(NAMES))] = draw(values)
        else:
            holder[name] = draw(values)
    return document


def text_of(document, elsewhere):
    """A document as it stands in a file, with the paths and the raw words that are not JSON."""
    text = json.dumps(document, ensure_ascii=False)
    for i, word in enumerate(RAW):
        text = text.replace(f'"@raw{i}@"', word)
    return text.replace("{elsewhere}", str(elsewhere)).encode("utf-8", "surrogatepass")


@st.composite
def sweeps(draw, rows, manifest):
    """What to put into a folder: bytes by file name, and the names that are links into `elsewhere`."""
    lines = [draw(spoilt(row)) for row in rows]
    return {
        "lines": lines,
        "bytes": draw(
            st.lists(
                st.binary(max_size=12) | st.sampled_from([b"\xff\xfe", b"\0" * 9, b"[]", b"5"]), max_size=2
            )
        ),
        "flip": draw(st.none() | st.integers(0, 20_000)),
        "manifest": draw(spoilt(manifest)),
        "claim": draw(spoilt({"machine": "m", "pid": 1, "born": 1.0, "token": "t"})),
        "calibration": draw(spoilt({"A card": CALIBRATION})),
        "submitted": draw(spoilt({"array": "5", "keys": []})),
        "file": draw(st.sampled_from(FILES)),
        "links": draw(st.sets(st.sampled_from(LINKS), max_size=3)),
    }


CALIBRATION = {
    "gpu": "A card",
    "constant_gib": 1.0,
    "workspace_gib": 0.5,
    "context_gib": 0.5,
    "context_measured": True,
    "rows": 3,
    "largest_gib": 5.0,
}
LINKS = (
    *(
        "rows/z.jsonl",
        "logs/a.log",
        "sweep.json",
        "videos/link.mp4",
        "sheets/link.png",
        "sheets",
        "logs",
        "plots",
    ),
    *(
        "claims",
        "calibration.json",
        "differences",
        "baselines",
        "report.html",
        "results.csv",
        "videos/{key}.mp4",
    ),
)


def write(folder: Path, elsewhere: Path, made: dict, keys: list[str]) -> None:
    """Write such a sweep."""
    for place in ("rows", "videos", "sheets", "logs"):
        (folder / place).mkdir(parents=True)
    for key in keys:
        (folder / "videos" / f"{key}.mp4").write_bytes(b"film")
        Pictures.new("RGB", (8, 8), f"#{key[:6]}").save(folder / "sheets" / f"{key}.png")
    (folder / "logs" / "w-0.log").write_bytes(b"\xff\0 it \x1b[2J broke")
    lines = b"\n".join([*(text_of(line, elsewhere) for line in made["lines"]), *made["bytes"]]) + b"\n"
    if made["flip"] is not None:
        at, bit = divmod(made["flip"], 8)
        at %= len(lines)
        lines = lines[:at] + bytes([lines[at] ^ 1 << bit]) + lines[at + 1 :]
    (folder / "rows" / made["file"]).write_bytes(lines)
    for name, what in {"claims/0a": "claim", "slurm/submitted.json": "submitted"}.items():
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(text_of(made[what], elsewhere))
    for what, name in (("manifest", "sweep.json"), ("calibration", "calibration.json")):
        (folder / name).write_bytes(text_of(made[what], elsewhere))
    for link in sorted(made["links"]):
        path = folder / link.format(key=keys[0])
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(elsewhere if "." not in path.name else elsewhere / "shadow")


class Watch:
    """The files under a folder that this process opens or lists while it is on; there is one hook a process."""

    def __init__(self) -> None:
        self.folder, self.seen = "", []
        sys.addaudithook(self._hear)

    def _hear(self, event, arguments):
        if not self.folder or event not in (
            "open",
            "os.listdir",
            "os.scandir",
            "os.rename",
            "os.remove",
            "os.mkdir",
        ):
            return
        path = arguments[0]
        if isinstance(path, str | bytes | os.PathLike):
            real = os.path.realpath(os.fsdecode(path))
            if real.startswith(self.folder):
                self.seen.append((event, os.fsdecode(path)))

    @contextlib.contextmanager
    def on(self, folder):
        self.folder, self.seen = str(folder), []
        try:
            yield self.seen
        finally:
            self.folder = ""

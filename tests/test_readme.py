"""The READMEs say what the schema, the presets and the verbs say; a failing test prints the text that belongs there."""

import csv
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from PIL import Image
from test_house import FLOORS, LOOSE

import svdsweep
from svdsweep.commands.doctor.confirmed import STATE, SYSTEMS
from svdsweep.commands.help import verbs
from svdsweep.grid import help
from svdsweep.grid.presets import CONF
from svdsweep.memory.conflicts import KINDS
from svdsweep.metrics import COLUMNS
from svdsweep.store.rows import Store
from svdsweep.store.vbench import COLUMNS as VBENCH

ROOT = Path(__file__).parent.parent
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
PACKAGE = ROOT / "svdsweep"
H200 = ROOT / "runs" / "published" / "h200"
GRID = PACKAGE / "report" / "grid.webp"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(
        page for folder in ("svdsweep", "runs/published", ".github") for page in (ROOT / folder).rglob("*.md")
    ),
]


def measured() -> str:
    """The table of what an H200 measured, from its rows; predicted peaks of what ran as it is predicted."""
    with (H200 / "first_light" / "predictions.csv").open(encoding="utf-8", newline="") as f:
        lines = [line for line in csv.DictReader(f) if line["stage"] == "run"]
    predicted = {line["memory"]: f"{float(line['predicted_gib']):.2f}" for line in lines}
    table = [
        "| strategy | a step, s | decode, s | run, s | VRAM, GiB | predicted | PSNR to the baseline, dB |"
    ]
    table.append("|---|---|---|---|---|---|---|")
    first = [row for row in Store(H200 / "first_light").rows().values() if row.job.memory.compile == "none"]
    later = [row for row in Store(H200 / "fastest").rows().values() if row.job.memory.name == "fastest"]
    for row in (*first, *later):
        memory, values = row.job.memory, row.values
        figures = [f"{values[name]:#.3g}" for name in ("step_s", "vae_decode_s", "total_s")]
        figures += [f"{values['vram_allocated_peak_gib']:#.3g}"]
        figures += [predicted[memory.name] if memory.compile == "none" else "–"]
        figures += [f"{values['psnr_to_baseline_db']:.1f}" if "psnr_to_baseline_db" in values else "–"]
        table.append(f"| `{memory.name}` | {' | '.join(figures)} |")
    return "\n".join(table)


def machines() -> str:
    """What a real machine has confirmed, by kind of device and system, as `svdsweep doctor` has it."""
    lines = [f"| what computes | {' | '.join(SYSTEMS.values())} |", "|---|---|---|---|"]
    lines += [f"| {KINDS[kind]} | {' | '.join(by_system.values())} |" for kind, by_system in STATE.items()]
    return "\n".join(lines)


def floors() -> str:
    """The folders of the package from the ground up, as tests/test_house.py has them, without the public face."""
    lines = ["| floor | folders and modules |", "|---|---|"]
    for number, names in enumerate(FLOORS[:-1]):
        shown = (f"`{name}.py`" if name in LOOSE else f"`{name}/`" for name in sorted(names))
        lines.append(f"| {number} | {', '.join(shown)} |")
    return "\n".join(lines)


def metrics() -> str:
    """Every metric with its unit, direction and what it does not see."""
    lines = ["| column | unit | better | what it is | blind to |", "|---|---|---|---|---|"]
    lines += [
        f"| `{c.name}` | {c.unit} | {c.better or '–'} | {c.help} | {c.blind_to or '–'} |"
        for c in [*COLUMNS.values(), *VBENCH]
    ]
    return "\n".join(lines)


TABLES = {
    "what an H200 measured": (README, measured),
    "machines": (README, machines),
    "settings": (PACKAGE / "grid" / "README.md", help.markdown),
    "verbs": (PACKAGE / "commands" / "README.md", verbs),
    "memory strategies": (PACKAGE / "memory" / "README.md", lambda: help.presets(CONF / "memory")),
    "metrics": (PACKAGE / "metrics" / "README.md", metrics),
    "floors of the house": (CONTRIBUTING, floors),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_document_has_the_table_of(name):
    document, made = TABLES[name]
    table = made()
    assert table in document.read_text(encoding="utf-8"), f"{document} lacks this table:\n{table}"


def links(page: Path) -> list[str]:
    """The files that a page links to or shows; code is left out."""
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    return [target for target in targets if not target.startswith(("http", "mailto:", "#"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_links_to_is_there(page):
    assert not [link for link in links(page) if not (page.parent / link.partition("#")[0]).exists()]


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    lines = page.read_text(encoding="utf-8").splitlines()
    titles = [line.lstrip("# ").lower() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def test_every_heading_that_a_page_links_to_is_there():
    anchored = [
        (page, *link.split("#")) for page in PAGES for link in links(page) if "#" in link and ".md" in link
    ]
    assert anchored
    assert not [
        (page, link, anchor)
        for page, link, anchor in anchored
        if anchor not in headings((page.parent / link).resolve())
    ]


def test_the_readme_is_short_and_begins_with_pictures():
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 140
    first_screen = "\n".join(lines[:40])
    assert "svdsweep/report/grid.webp" in first_screen
    assert "svdsweep/report/screenshot.png" in first_screen


def test_the_moving_picture_moves_and_is_small():
    assert GRID.stat().st_size < 1_000_000
    with Image.open(GRID) as picture:
        assert picture.format == "WEBP"
        assert picture.n_frames > 1


def test_one_bold_line_says_what_no_gpu_has_measured():
    bold = re.findall(r"^\*\*.*\*\*$", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(bold) == 1
    assert "Not yet measured" in bold[0]


@pytest.mark.parametrize(
    ("command", "place"), [("python -m svdsweep motion_bucket_id=60,120,180", 0), ("python -m pytest", 1)]
)
def test_ci_finds_the_commands_of_the_readme(command, place):
    """`.ci/run` takes them by name; others take the first two blocks of shell."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    source = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    function = source[source.index("block() {") : source.index("\n}\n") + 3]
    name = command.partition(" motion")[0]
    asked = subprocess.run(
        ["bash", "-ec", f'{function}\nblock "$1"', "-", name],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert f"block '{name}'" in source
    assert command in asked.stdout
    assert asked.stdout == blocks[place]


def test_the_public_face_is_documented():
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    of_a_sweep = [name for name in vars(svdsweep.Sweep) if not name.startswith("_")]
    names = [f"svdsweep.{name}" for name in svdsweep.__all__ if name != "Sweep"] + of_a_sweep
    assert not [name for name in names if not re.search(rf"`{re.escape(name)}\b", text)]


def test_files_that_contributing_names_are_there():
    text = CONTRIBUTING.read_text(encoding="utf-8")
    names = re.findall(r"`((?:svdsweep|conf|tests|runs|notebooks|\.ci|\.github)/[\w./-]*)`", text)
    assert len(names) > 20
    assert not [name for name in names if not (ROOT / name).exists()]


@pytest.mark.parametrize(
    "path", [*sorted((ROOT / ".github").rglob("*.yml")), ROOT / "CITATION.cff"], ids=lambda path: path.name
)
def test_what_services_read_is_yaml(path):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))

"""The README says what the schema, the presets and the verbs say; a failing test prints the text that belongs there."""

import csv
from pathlib import Path

import pytest

from svdsweep.commands.help import verbs
from svdsweep.grid import help
from svdsweep.grid.presets import CONF
from svdsweep.store.rows import Store

README = Path(__file__).parent.parent / "README.md"
H200 = README.parent / "runs" / "published" / "h200" / "first_light"


def measured() -> str:
    """The table of what an H200 measured, from its rows; predicted peaks of what ran as it is predicted."""
    with (H200 / "predictions.csv").open(encoding="utf-8", newline="") as f:
        lines = [line for line in csv.DictReader(f) if line["stage"] == "run"]
    predicted = {line["memory"]: f"{float(line['predicted_gib']):.2f}" for line in lines}
    table = [
        "| strategy | a step, s | decode, s | run, s | VRAM, GiB | predicted | PSNR to the baseline, dB |"
    ]
    table.append("|---|---|---|---|---|---|---|")
    for row in Store(H200).rows().values():
        memory, values = row.job.memory, row.values
        if memory.unet_weights != "full":
            continue  # under the name of a preset that is another one today
        figures = [f"{values[name]:#.3g}" for name in ("step_s", "vae_decode_s", "total_s")]
        figures += [f"{values['vram_allocated_peak_gib']:#.3g}"]
        figures += [predicted[memory.name] if memory.compile == "none" else "–"]
        figures += [f"{values['psnr_to_baseline_db']:.1f}" if "psnr_to_baseline_db" in values else "–"]
        table.append(f"| `{memory.name}` | {' | '.join(figures)} |")
    return "\n".join(table)


TABLES = {
    "what an H200 measured": measured,
    "settings": help.markdown,
    "verbs": verbs,
    "memory strategies": lambda: help.presets(CONF / "memory"),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_readme_has_the_table_of(name):
    table = TABLES[name]()
    assert table in README.read_text(encoding="utf-8"), f"the README lacks this table:\n{table}"


def test_every_file_that_the_readme_links_to_is_there():
    text = README.read_text(encoding="utf-8")
    links = [part.split(")")[0] for part in text.split("](")[1:]]
    missing = [link for link in links if not link.startswith("http") and not (README.parent / link).exists()]
    assert not missing

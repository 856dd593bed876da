"""The help page and the settings' tables say of each setting what it is, its default and its range."""

import re

import pytest

from svdsweep.config import Config
from svdsweep.config.rules import rules
from svdsweep.grid import help


@pytest.fixture
def page():
    return help.page({"run": "does it", "afterwards": "looks at it"})


def test_the_page_begins_with_the_verbs_and_ends_with_the_exit_codes(page):
    assert page.startswith("svdsweep: sweep Stable Video Diffusion over ")
    assert "\nverbs\n  run        does it\n  afterwards looks at it\n\nexamples" in page
    assert "\n$APP_CONFIG_GROUPS\nsettings\n  seed    " in page
    assert page.endswith(", 130 interrupted\n")
    assert "(default: 1)\n\nflags\n  --json " in page


def test_each_setting_has_an_entry_within_a_hundred_columns(page):
    assert max(map(len, page.splitlines())) <= help.WIDTH
    first, *parts = page[page.index("settings\n") : page.index("\nflags")].split("\n\n")
    names = [re.findall(r"^  ([a-z]\S*)", part, re.MULTILINE) for part in (first, *parts)]
    labels = [key for key, (rule, _) in rules(Config).items() if rule.label]
    keys = [key for key in rules(Config) if key not in labels and key not in ("image.sha256", "baseline")]
    assert [name for part in names for name in part] == sorted(keys, key=lambda key: key.count(".") > 0)
    assert [{name.rpartition(".")[0] for name in part} for part in names] == [
        *({""}, {"model"}, {"image"}, {"memory"}, {"measure"}, {"metrics"}, {"gpu"}),
        *({"runner"}, {"runner.slurm"}, {"runner.ray"}),
    ]


def test_an_entry_wraps_under_its_text_and_a_long_name_has_a_line_of_its_own(page):
    for entry in (
        "  motion_bucket_id            Amount of motion asked for. [0–255] (default: 127)",
        "  height                      Height of the video. `auto`: by the picture's shape. [≥ 8 px, a\n"
        "                              multiple of 8 or auto] (default: the model's)",
        "  memory.offload_non_blocking Group offload: do not wait for a copy to finish before going on.\n"
        "                              (default: false)",
        "  memory.offload_low_cpu_memory\n"
        "                              Group offload with a stream: pin a group when it is fetched instead of\n"
        "                              all of them for good. (default: false)",
        "  memory.compile_dynamic      Compile once for any shape (true), or for each shape a graph of its\n"
        "                              own (false, and if not set). (default: null)",
    ):
        assert f"\n{entry}\n" in page, entry


def test_settings_are_a_table_of_one_part():
    assert help.markdown("gpu").splitlines() == [
        "| setting | default | allowed | |",
        "|---|---|---|---|",
        "| `gpu.memory_limit_gib` | null | ≥ 0.1 GiB | Cap the allocator, to ask whether a job fits a smaller card. |",
    ]
    own = help.markdown().splitlines()
    assert "| `runs_dir` | runs |  | Folder of all sweeps. |" in own
    allowed = "≥ 8 px, a multiple of 8 or auto"
    assert (
        f"| `width` | the model's | {allowed} | Width of the video. `auto`: by the picture's shape. |" in own
    )
    assert len(own) == 2 + 15


def test_presets_are_a_table_of_what_their_files_begin_with(tmp_path):
    head = "# @package _global_\n# python -m svdsweep memory=mine\n# It does much,\n# and more – ä.\n"
    (tmp_path / "mine.yaml").write_text(head + "name: mine\n# not this\n", encoding="utf-8")
    (tmp_path / "also.yaml").write_text("# Another.\n", encoding="utf-8")
    (tmp_path / "no.txt").write_text("# no preset\n", encoding="utf-8")
    table = ["| preset | |", "|---|---|", "| `also` | Another. |", "| `mine` | It does much, and more – ä. |"]
    assert help.presets(tmp_path) == "\n".join(table)

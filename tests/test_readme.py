"""The README says what the schema, the presets and the verbs say; a failing test prints the text that belongs there."""

from pathlib import Path

import pytest

from svdsweep import help
from svdsweep.composition import CONF

README = Path(__file__).parent.parent / "README.md"
TABLES = {
    "settings": help.markdown,
    "verbs": help.verbs,
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

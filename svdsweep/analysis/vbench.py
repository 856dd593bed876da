"""VBench's scores written to the rows of a sweep."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from svdsweep.analysis.files import write_results
from svdsweep.store.rows import Row, Store
from svdsweep.store.vbench import Joined


def bring(folder: Path, rows: Mapping[str, Row], joined: Joined) -> int:
    """Append the rows, given by key, that gain a score, and write the sweep's tables; returns how many they are.

    Rows are only added to: the earlier ones stay in their files, and the later of one attempt counts."""
    gaining = [
        replace(rows[key], values={**rows[key].values, **columns})
        for key, columns in joined.columns.items()
        if not columns.items() <= rows[key].values.items()
    ]
    store = Store(folder, writer=f"vbench-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    for row in gaining:
        store.append(row)
    if gaining:
        write_results(folder, store.rows().values())
    return len(gaining)

"""`svdsweep export --to csv`, read by pandas."""

import pandas as pd

from svdsweep import cli


def exported(folder):
    assert cli.main(["export", str(folder), "--to", "csv"]) == 0
    place = folder.parent / "export" / "csv" / "motion"
    return {path.stem: path for path in place.iterdir()}


def test_the_tables_are_one_line_a_job_and_one_line_a_number_with_its_unit(folder, rows):
    tables = {name: pd.read_csv(path) for name, path in exported(folder).items()}
    assert set(tables["jobs"]["key"]) == set(rows)
    metrics = tables["metrics"].set_index(["key", "metric"])
    key, row = next(iter(rows.items()))
    assert metrics.loc[(key, "total_s"), "value"] == row.values["total_s"]
    assert metrics.loc[(key, "motion_px"), "unit"] == "px/frame"
    assert (key, "vram_process_peak_gib") not in metrics.index
    steps = tables["series"].query("key == @key and name == 'step_s'")
    assert steps["value"].tolist() == [0.1, 0.2, 0.3]
    assert steps["run"].tolist() == [0, 0, 1]
    assert set(steps["unit"]) == {"s"}
    columns = tables["columns"].set_index("name")
    assert columns.loc["total_s", "better"] == "lower"
    assert set(columns.index) <= set(tables["jobs"].columns)


def test_a_second_export_writes_the_same_bytes_and_no_formula_is_live(folder):
    first = {name: path.read_bytes() for name, path in exported(folder).items()}
    assert {name: path.read_bytes() for name, path in exported(folder).items()} == first
    assert "'=cmd|***MY_TOKEN***" in first["jobs"].decode()

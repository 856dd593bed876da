"""Sweeps in TensorBoard, read back by TensorBoard."""

import dataclasses

import pytest

from svdsweep import cli
from svdsweep.export import export
from svdsweep.store.rows import Store

pytest.importorskip("tensorboard", reason="tensorboard is not installed")


def read(folder):
    """What TensorBoard finds in each run's folder, by the job's key."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runs = {}
    for path in (folder.parent / "export" / "tensorboard" / "motion").iterdir():
        runs[path.name.rpartition("-")[2]] = EventAccumulator(str(path)).Reload()
    return runs


def test_tensorboard_reads_hyperparameters_numbers_steps_pictures_and_words(folder, rows, capsys):
    from tensorboard.plugins.hparams import metadata

    assert cli.main(["export", str(folder), "--to", "tensorboard"]) == 0
    assert "tensorboard --logdir" in capsys.readouterr().out
    runs = read(folder)
    assert set(runs) == set(rows)
    key, row = next(iter(rows.items()))
    run = runs[key]
    (total,) = run.Scalars("total_s")
    assert total.value == pytest.approx(row.values["total_s"], rel=1e-6)  # TensorBoard keeps 32 bits
    assert [(point.step, point.value) for point in run.Scalars("series/step_s/run1")] == [
        (0, pytest.approx(0.1)),
        (1, pytest.approx(0.2)),
    ]
    assert "vram_process_peak_gib" not in run.Tags()["scalars"]
    sheet = (folder / "sheets" / f"{key}.png").read_bytes()
    assert [image.encoded_image_string for image in run.Images("contact_sheet")] == [sheet]
    content = run.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    settings = metadata.parse_session_start_info_plugin_data(content).hparams
    assert settings["motion_bucket_id"].number_value == 60
    assert settings["model.weights"].string_value == "pretrained"
    failed = next(run for run in runs.values() if "total_s" not in run.Tags()["scalars"])
    facts, notes = (
        failed.Tensors(name)[0].tensor_proto.string_val[0].decode() for name in ("facts", "notes")
    )
    assert "weights: random" in facts
    assert "RuntimeError: x" in notes


def test_a_second_export_adds_what_is_new_and_replaces_what_was_made_again(folder, rows):
    assert export(folder, rows.values(), "tensorboard").new == 3
    row = next(iter(rows.values()))
    Store(folder, "bench-2").append(dataclasses.replace(row, attempt=2, values={"total_s": 5.0}))
    assert export(folder, Store(folder).rows().values(), "tensorboard").new == 1
    assert export(folder, Store(folder).rows().values(), "tensorboard").new == 0
    assert len(read(folder)) == 3
    assert [point.value for point in read(folder)[row.key].Scalars("total_s")] == [5.0]

"""TensorBoard: a folder a row with its event file, written by TensorBoard's own writer; neither torch nor TensorFlow.

Its HPARAMS tab compares the jobs, SCALARS has the series, IMAGES the contact sheets, TEXT the notes and the facts."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svdsweep.export.contract import Entry, Origin
from svdsweep.export.ledger import Ledger, safe

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary


def connect(origin: Origin, into: str) -> "Target":
    """The sweep's folder in a folder of logs."""
    folder = Path(into) / safe(origin.name)
    folder.mkdir(parents=True, exist_ok=True)
    return Target(folder, Ledger(Path(into), origin))


def how_to_look(into: str) -> str:
    """The command that shows it."""
    return f"tensorboard --logdir {into}"


class Target:
    """The runs of a sweep."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self._folder, self._ledger = folder, ledger

    def has(self, entry: Entry) -> bool:
        """Whether the run of this version is there."""
        return self._ledger.has(entry) and (self._folder / self._ledger.run_of(entry)).is_dir()

    def add(self, entry: Entry) -> None:
        """A run with all of the row, in the place of an older version's."""
        run, older = f"{safe(entry.name)}-{entry.key}", self._ledger.run_of(entry)
        for old in {run, older} - {""}:  # `run`: of an export that was killed
            shutil.rmtree(self._folder / old, ignore_errors=True)
        _write(self._folder / run, entry)
        self._ledger.note(entry, run)

    def close(self) -> None:
        """All is written."""


def _write(folder: Path, entry: Entry) -> None:
    """The event file of a row."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    at = entry.began.timestamp()
    writer = EventFileWriter(str(folder))
    told = [(0, _settings(entry)), *((0, _number(n, v)) for n, v in entry.metrics.items())]
    told += [(step, _number(name, v)) for name, values in entry.series.items() for step, v in values]
    told += [(0, _picture(path)) for path in entry.files if path.suffix == ".png"]
    told += [(0, _words(name, text)) for name, text in _texts(entry).items()]
    for step, value in [*told, (0, _end(entry))]:
        writer.add_event(Event(wall_time=at, step=step, summary=Summary(value=[value])))
    writer.close()


def _number(name: str, value: float) -> "Summary.Value":
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=name, simple_value=value)


def _picture(path: Path) -> "Summary.Value":
    """A PNG as it is."""
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    with Image.open(path, formats=["PNG"]) as picture:
        width, height = picture.size
    image = Summary.Image(encoded_image_string=path.read_bytes(), colorspace=3, width=width, height=height)
    return Summary.Value(tag="contact_sheet", image=image)


def _texts(entry: Entry) -> dict[str, str]:
    """What there is to read of a row, as TensorBoard's Markdown."""
    facts = "\n".join(f"    {name}: {value}" for name, value in entry.tags.items())
    videos = "\n".join(f"    {path}" for path in entry.files if path.suffix == ".mp4")
    return {n: text for n, text in {"facts": facts, "notes": entry.notes, "video": videos}.items() if text}


def _words(name: str, text: str) -> "Summary.Value":
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.text.metadata import create_summary_metadata

    one = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=one, string_val=[text.encode("utf-8", "replace")])
    return Summary.Value(tag=name, metadata=create_summary_metadata(name, ""), tensor=tensor)


def _settings(entry: Entry) -> "Summary.Value":
    """The settings as TensorBoard's hyperparameters; it finds the metrics among the scalars."""
    from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    start = SessionStartInfo(start_time_secs=entry.began.timestamp())
    for name, value in entry.settings.items():
        kind = "bool_value" if isinstance(value, bool) else "string_value" if isinstance(value, str) else ""
        setattr(start.hparams[name], kind or "number_value", value)
    return _hparams(SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))


def _end(entry: Entry) -> "Summary.Value":
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
    from tensorboard.plugins.hparams.metadata import SESSION_END_INFO_TAG
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = STATUS_SUCCESS if entry.whole else STATUS_FAILURE
    return _hparams(SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=SessionEndInfo(status=status)))


def _hparams(tag: str, data: Any) -> "Summary.Value":
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.metadata import NULL_TENSOR, create_summary_metadata

    return Summary.Value(tag=tag, metadata=create_summary_metadata(data), tensor=NULL_TENSOR)

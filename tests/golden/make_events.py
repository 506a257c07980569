"""Makes tests/golden/events.tfevents with TensorBoard's own messages and record writer (tensorboard 2.21.0).

    python tests/golden/make_events.py
"""
import pathlib

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

T = 1.7e9


def summary(*pairs):
    return Summary(value=[Summary.Value(tag=tag, simple_value=number) for tag, number in pairs])


EVENTS = [
    Event(wall_time=T, file_version="brain.Event:2"),
    Event(wall_time=T + 0.25, step=301, session_log=SessionLog(status=SessionLog.START)),
    Event(wall_time=T + 1.5, step=0, summary=summary(("train/loss", 2.5), ("train/rate", 1e-3))),
    Event(wall_time=T + 2.0, step=127, summary=summary(("validation/P@1", 0.0), ("é", -1e30))),
    Event(wall_time=T + 3.0, step=10**12, summary=summary(("x" * 200, 1.0))),
]

with open(pathlib.Path(__file__).parent / "events.tfevents", "wb") as file:
    writer = RecordWriter(file)
    for event in EVENTS:
        writer.write(event.SerializeToString())
    writer.flush()

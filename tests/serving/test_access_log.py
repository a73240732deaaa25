import datetime as dt
import io
import json
import logging
import os
import select
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_serving.logs.access_log import AccessLog, StreamSink, _pieces
from churn_serving.logs.json_logging import JsonFormatter, configure
from churn_serving.logs.line_writer import Lines

MOMENT = dt.datetime(2026, 1, 5, 3, 0, 12, 345_000, dt.UTC).timestamp()
NEVER = 3600.0


def log_to(stream, sample=1.0, **options):
    return AccessLog(stream, sample, **{"interval": NEVER, "clock": lambda: MOMENT} | options)


def record(log, *, status=200, seconds=0.001, request_id="r1", key_name="crm"):
    log.record("POST", "/predict", status, seconds, request_id, key_name, 321)


def lines_of(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_what_was_asked_and_answered():
    stream = io.BytesIO()
    log = log_to(stream)
    record(log, seconds=0.0012345)
    assert log.close()
    assert lines_of(stream) == [
        {
            "time": "2026-01-05T03:00:12.345Z",
            "level": "info",
            "message": "request",
            "method": "POST",
            "path": "/predict",
            "status": 200,
            "ms": 1.234,
            "request_id": "r1",
            "key": "crm",
            "bytes": 321,
        }
    ]


def test_without_a_key_it_is_null():
    stream = io.BytesIO()
    log = log_to(stream)
    record(log, key_name=None)
    log.close()
    assert lines_of(stream)[0]["key"] is None


def test_failures_and_slow_answers_are_always_logged():
    stream = io.BytesIO()
    log = log_to(stream, 0.0, slow_seconds=0.5)
    record(log, status=499)
    record(log, status=500, request_id="failed")
    record(log, status=503, seconds=2.0, request_id="both")
    record(log, seconds=0.499)
    record(log, seconds=0.5, request_id="slow")
    log.close()
    assert [(line["request_id"], line["level"]) for line in lines_of(stream)] == [
        ("failed", "error"),
        ("both", "error"),
        ("slow", "warning"),
    ]
    assert log.dropped == 0


def sampled(sample, count):
    stream = io.BytesIO()
    log = log_to(stream, sample, queue=10**6)
    for number in range(count):
        record(log, request_id=str(number))
    log.close(timeout=30)
    return [int(line["request_id"]) for line in lines_of(stream)]


@pytest.mark.parametrize("sample", [0.0, 0.01, 0.1, 0.5, 0.999, 1.0])
def test_the_sample_has_the_size_asked_for_and_is_the_same_each_time(sample):
    found = sampled(sample, 5000)
    assert len(found) == pytest.approx(5000 * sample, abs=5)
    assert found == sampled(sample, 5000)


@pytest.mark.parametrize("period", [2, 3, 5, 10, 60, 100])
def test_traffic_that_repeats_itself_is_sampled_alike(period):
    found = sampled(0.1, 20_000)
    for place in range(0, period, max(1, period // 5)):
        hits = sum(number % period == place for number in found)
        assert hits == pytest.approx(0.1 * 20_000 / period, abs=10)


@given(st.text(), st.text(), st.none() | st.text())
def test_no_text_can_break_a_line_or_the_log(path, request_id, key_name):
    stream = io.BytesIO()
    log = log_to(stream)
    log.record("GET", path, 200, 0.0, request_id, key_name, 0)
    record(log, request_id="next")
    assert log.close()
    lines = lines_of(stream)
    assert lines[-1]["request_id"] == "next"
    if len(lines) == 2:
        assert (lines[0]["path"], lines[0]["request_id"], lines[0]["key"]) == (path, request_id, key_name)
    assert log.written + log.dropped == 2


class Failing(io.BytesIO):
    """A stream that takes `room` bytes and then raises."""

    def __init__(self, room, error):
        super().__init__()
        self.room, self.error = room, error

    def write(self, content):
        if not self.room:
            raise self.error
        content = bytes(content)[: self.room]
        self.room -= len(content)
        return super().write(content)


def test_a_line_that_was_cut_off_spoils_no_other():
    stream = Failing(7, OSError(28, "No space left on device"))
    sink = StreamSink(stream)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            sink.write(Lines(b'{"lost": 1}\n', 1, MOMENT))
    stream.room = 1000
    sink.write(Lines(b'{"kept": 1}\n', 1, MOMENT))
    sink.write(Lines(b'{"kept": 2}\n', 1, MOMENT))
    assert stream.getvalue() == b'{"lost"\n{"kept": 1}\n{"kept": 2}\n'


def test_nobody_reading_costs_lines_and_nothing_else(caplog):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb", buffering=0) as stream:
        log = log_to(stream)
        for _ in range(1000):
            record(log)
        assert log.close()
    assert (log.written, log.dropped) == (0, 1000)
    assert caplog.text.count("BrokenPipeError") == 1


SERVER = """
from churn_serving.logs.access_log import AccessLog, standard_output
log = AccessLog(standard_output(), 1.0, interval=0.001)
for number in range(20000):
    log.record("GET", "/live", 200, 0.0, str(number), None, 20)
assert log.close()
"""


def test_a_process_whose_output_nobody_reads_ends_in_peace():
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        server.stdout.close()
        errors = server.stderr.read().decode()
    assert server.returncode == 0
    assert "Exception ignored" not in errors
    assert "Traceback" not in errors


def test_processes_that_share_a_pipe_leave_each_others_lines_whole():
    read, write = os.pipe()
    servers = [subprocess.Popen([sys.executable, "-c", SERVER], stdout=write) for _ in range(3)]
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        lines = [json.loads(line) for line in stream]
    assert [server.wait(30) for server in servers] == [0, 0, 0]
    requests = [line["request_id"] for line in lines]
    assert sorted(requests, key=int) == [str(number) for number in range(20_000) for _ in range(3)]


@given(st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), max_size=30), st.integers(1, 100))
def test_pieces_are_of_whole_lines_and_short_enough(lines, longest):
    content = b"".join(line + b"\n" for line in lines)
    pieces = list(_pieces(content, longest))
    assert b"".join(pieces) == content
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert all(len(piece) <= longest or piece.count(b"\n") == 1 for piece in pieces)


def test_only_a_pipe_is_written_in_pieces(tmp_path):
    read, write = os.pipe()
    with os.fdopen(read, "rb"), os.fdopen(write, "wb", buffering=0) as stream:
        assert StreamSink(stream)._longest == select.PIPE_BUF
    with (tmp_path / "log").open("wb", buffering=0) as stream:
        assert StreamSink(stream)._longest is None
    assert StreamSink(io.BytesIO())._longest is None


def formatted(message, *args, **fields):
    record = logging.makeLogRecord(
        {"name": "churn_serving.x", "levelname": "WARNING", "msg": message, "args": args, "created": MOMENT} | fields
    )
    text = JsonFormatter().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_word_of_the_service_is_one_json_line():
    assert formatted("%d\nof %s", 3, "them") == {
        "time": "2026-01-05T03:00:12.345Z",
        "level": "warning",
        "logger": "churn_serving.x",
        "message": "3\nof them",
    }


def test_an_exception_is_in_the_line_as_text():
    try:
        int("of no use")
    except ValueError:
        line = formatted("it failed", exc_info=sys.exc_info())
    assert line["message"] == "it failed"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("'of no use'")


@given(st.text(st.characters()))
def test_any_message_can_be_formatted(message):
    plain = message.encode("utf-8", "backslashreplace").decode()
    assert formatted(message)["message"] == plain


@pytest.fixture
def loggers_as_they_were():
    names = [None, "uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access"]
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.handlers[:], logger.level, logger.propagate, logger.disabled) for logger in loggers]
    yield
    for logger, (handlers, level, propagate, disabled) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.level, logger.propagate, logger.disabled = level, propagate, disabled


@pytest.mark.usefixtures("loggers_as_they_were")
def test_everybody_speaks_json_on_standard_error_except_uvicorns_access_log(capsys):
    logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())
    configure("INFO")
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("churn_serving.reload").info("a new model")
    logging.getLogger("churn_serving.reload").debug("not shown")
    logging.getLogger("uvicorn.access").warning('"GET /users/u1"')
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [json.loads(line) for line in captured.err.splitlines()]
    assert [(line["logger"], line["message"]) for line in lines] == [
        ("uvicorn.error", "started"),
        ("churn_serving.reload", "a new model"),
    ]


@pytest.mark.usefixtures("loggers_as_they_were")
def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="LOUD"):
        configure("LOUD")

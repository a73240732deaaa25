import logging
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_serving.logs.line_writer import SLICE, LineWriter, write_all

NEVER = 3600.0


class Memory:
    """A sink that keeps what it gets, and fails while `error` is set."""

    def __init__(self, error=None):
        self.error = error
        self.tries = 0
        self.lines = []
        self.is_closed = False

    def write(self, lines):
        self.tries += 1
        if self.error:
            raise self.error
        self.lines += lines.content.decode().splitlines()

    def close(self):
        self.is_closed = True


class Blocked(Memory):
    """A sink that hangs, like a pipe that nobody empties, until it is let go."""

    def __init__(self):
        super().__init__()
        self.free = threading.Event()

    def write(self, lines):
        self.free.wait(30)
        super().write(lines)


def encode(records):
    return "".join(f"{text}\n" for _, text in records).encode()


def offer(writer, text, lines=1):
    if lines == 1:
        writer.record((0.0, text))
    else:
        writer.offer(0.0, f"{text}\n".encode() * lines, lines)


def until(condition):
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.002)


@pytest.fixture
def writer_of():
    made = []

    def make(sink, **options):
        made.append(LineWriter("test log", encode, sink, **{"interval": NEVER} | options))
        return made[-1]

    yield make
    for writer in made:
        writer.close()


def test_what_is_offered_is_written_in_order(writer_of):
    sink = Memory()
    writer = writer_of(sink)
    for number in range(5000):
        offer(writer, number)
    assert writer.close()
    assert sink.lines == [str(number) for number in range(5000)]
    assert (writer.written, writer.dropped) == (5000, 0)
    assert sink.is_closed


def test_lines_are_written_without_being_asked_for(writer_of):
    sink = Memory()
    writer = writer_of(sink, interval=0.01)
    offer(writer, "first")
    until(lambda: sink.lines == ["first"])
    offer(writer, "second")
    until(lambda: sink.lines == ["first", "second"])


def test_an_offer_only_queues_and_another_thread_writes(writer_of):
    threads = []

    class Telling(Memory):
        def write(self, lines):
            threads.append(threading.current_thread())
            super().write(lines)

    writer = writer_of(Telling())
    offer(writer, "a")
    assert threads == []
    writer.close()
    assert threads
    assert threading.main_thread() not in threads


def test_a_full_queue_drops_and_counts_and_stays_quick(writer_of):
    sink = Memory()
    writer = writer_of(sink, limit=10)
    start = time.process_time()
    for number in range(100_000):
        offer(writer, number)
    assert time.process_time() - start < 1.0  # ten times what it takes
    assert writer.dropped == 99_990
    writer.close()
    assert sink.lines == [str(number) for number in range(10)]
    assert writer.written == 10


def test_a_record_of_many_lines_fills_the_queue_by_its_lines(writer_of):
    writer = writer_of(Memory(), limit=10)
    offer(writer, "many", lines=1000)
    offer(writer, "one more")
    offer(writer, "many more", lines=500)
    assert writer.dropped == 501


def test_there_is_room_again_once_the_queue_was_emptied(writer_of):
    sink = Memory()
    writer = writer_of(sink, limit=2, interval=0.01)
    for number in range(20):
        until(lambda: writer.written == number)  # noqa: B023 - called at once
        offer(writer, number)
    until(lambda: writer.written == 20)
    assert writer.dropped == 0


def test_a_failing_sink_costs_lines_is_reported_once_and_recovers(writer_of, caplog):
    sink = Memory(OSError(28, "No space left on device"))
    writer = writer_of(sink, interval=0.005)
    for number in range(3):
        offer(writer, f"lost {number}")
        until(lambda: writer.dropped == number + 1)  # noqa: B023 - called at once
    assert sink.tries == 3
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "test log" in caplog.text
    assert "No space left" in caplog.text
    sink.error = None
    offer(writer, "kept")
    until(lambda: sink.lines == ["kept"])
    until(lambda: len(caplog.records) == 2)
    assert "3 lines were dropped" in caplog.records[1].getMessage()
    assert (writer.written, writer.dropped) == (1, 3)


def test_each_trouble_is_reported(writer_of, caplog):
    sink = Memory(OSError(28, "No space left on device"))
    writer = writer_of(sink, interval=0.005)
    offer(writer, "lost")
    until(lambda: writer.dropped == 1)
    sink.error = None
    offer(writer, "kept")
    until(lambda: writer.written == 1)
    sink.error = BrokenPipeError(32, "Broken pipe")
    offer(writer, "lost")
    until(lambda: writer.dropped == 2 and len(caplog.records) == 3)
    assert "Broken pipe" in caplog.records[2].getMessage()


def test_a_line_that_could_not_be_encoded_is_counted_and_reported(writer_of, caplog):
    sink = Memory()
    writer = writer_of(sink)
    offer(writer, "before")
    writer.refuse(ValueError("half a surrogate pair"), lines=2)
    offer(writer, "after")
    writer.close()
    assert sink.lines == ["before", "after"]
    assert (writer.written, writer.dropped) == (2, 2)
    assert "half a surrogate pair" in caplog.text


def test_what_is_written_at_once_is_of_one_day(writer_of):
    slices = []

    class Telling(Memory):
        def write(self, lines):
            slices.append((lines.time, lines.count, lines.content))

    writer = writer_of(Telling())
    for seconds in (86_398.0, 86_399.9, 86_400.0, 86_399.0):
        writer.offer(seconds, b"x\n")
    writer.close()
    assert slices == [(86_398.0, 2, b"x\nx\n"), (86_400.0, 1, b"x\n"), (86_399.0, 1, b"x\n")]


def test_a_record_that_cannot_be_encoded_costs_only_itself(writer_of, caplog):
    sink = Memory()
    writer = writer_of(sink)
    for text in ("before", "\ud800", "after"):
        offer(writer, text)
    writer.close()
    assert sink.lines == ["before", "after"]
    assert (writer.written, writer.dropped) == (2, 1)
    assert "UnicodeEncodeError" in caplog.text


def test_records_are_encoded_when_a_slice_is_full_and_at_the_end():
    sizes = []

    def count(records):
        sizes.append(len(records))
        return encode(records)

    sink = Memory()
    writer = LineWriter("test log", count, sink, interval=NEVER)
    for number in range(2 * SLICE + 3):
        offer(writer, number)
    assert sizes == [SLICE, SLICE]
    writer.close()
    assert sizes == [SLICE, SLICE, 3]
    assert len(sink.lines) == 2 * SLICE + 3


def test_what_is_offered_after_the_end_is_dropped(writer_of):
    sink = Memory()
    writer = writer_of(sink)
    writer.close()
    offer(writer, "late")
    assert writer.close()
    assert (sink.lines, writer.dropped) == ([], 1)


def test_closing_waits_no_longer_than_it_may(writer_of):
    sink = Blocked()
    writer = writer_of(sink, limit=100)
    for number in range(200):
        offer(writer, number)
    assert not writer.close(timeout=0.05)
    sink.free.set()
    assert writer.close(timeout=20)
    assert (writer.written, writer.dropped) == (100, 100)


def test_a_sink_that_hangs_holds_nobody_up(writer_of):
    sink = Blocked()
    writer = writer_of(sink, limit=50, interval=0.001)
    for number in range(10_000):
        offer(writer, number)
    assert writer.dropped >= 9000
    sink.free.set()
    writer.close(timeout=20)
    assert writer.written + writer.dropped == 10_000
    assert len(sink.lines) == writer.written


@given(st.lists(st.integers(1, 400), max_size=60), st.integers(1, 5000))
def test_every_line_is_written_or_counted(sizes, limit):
    sink = Memory()
    writer = LineWriter("test log", encode, sink, limit=limit, interval=0.0001)
    for size in sizes:
        offer(writer, "x", size)
    assert writer.close()
    assert writer.written == len(sink.lines)
    assert writer.written + writer.dropped == sum(sizes)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_a_file_that_takes_a_little_at_a_time_gets_all(content, most):
    got = bytearray()

    def take(rest):
        got.extend(rest[:most])
        return min(most, len(rest))

    write_all(take, content)
    assert bytes(got) == content


def test_a_file_that_takes_nothing_is_an_error():
    with pytest.raises(BlockingIOError):
        write_all(lambda _: None, b"x")

import logging
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_serving.logs.line_writer import Lines, LineWriter, write_all

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
    yield Lines("".join(f"{record}\n" for record in records).encode("utf-8"), len(records), 0.0)


def one_line_each(records):
    for record in records:
        yield Lines(f"{record}\n".encode(), 1, 0.0)


def until(condition):
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.002)


@pytest.fixture
def writer_of():
    made = []

    def make(sink, **options):
        made.append(LineWriter("test log", options.pop("encode", encode), sink, **{"interval": NEVER} | options))
        return made[-1]

    yield make
    for writer in made:
        writer.close()


def test_what_is_offered_is_written_in_order(writer_of):
    sink = Memory()
    writer = writer_of(sink)
    for number in range(5000):
        writer.offer(number)
    assert writer.close()
    assert sink.lines == [str(number) for number in range(5000)]
    assert (writer.written, writer.dropped) == (5000, 0)
    assert sink.is_closed


def test_lines_are_written_without_being_asked_for(writer_of):
    sink = Memory()
    writer = writer_of(sink, interval=0.01)
    writer.offer("first")
    until(lambda: sink.lines == ["first"])
    writer.offer("second")
    until(lambda: sink.lines == ["first", "second"])


def test_an_offer_only_queues(writer_of):
    threads = []

    def encode_and_tell(records):
        threads.append(threading.current_thread())
        return encode(records)

    writer = writer_of(Memory(), encode=encode_and_tell)
    writer.offer("a")
    assert threads == []
    writer.close()
    assert threads
    assert threading.main_thread() not in threads


def test_a_full_queue_drops_and_counts_and_stays_quick(writer_of):
    sink = Memory()
    writer = writer_of(sink, limit=10)
    start = time.process_time()
    for number in range(100_000):
        writer.offer(number)
    assert time.process_time() - start < 1.0  # ten times what it takes
    assert writer.dropped == 99_990
    writer.close()
    assert sink.lines == [str(number) for number in range(10)]
    assert writer.written == 10


def test_a_record_of_many_lines_fills_the_queue_by_its_lines(writer_of):
    writer = writer_of(Memory(), limit=10)
    writer.offer("many", lines=1000)
    writer.offer("one more")
    writer.offer("many more", lines=500)
    assert writer.dropped == 501


def test_there_is_room_again_once_the_queue_was_emptied(writer_of):
    sink = Memory()
    writer = writer_of(sink, limit=2, interval=0.01)
    for number in range(20):
        until(lambda: writer.written == number)  # noqa: B023 - called at once
        writer.offer(number)
    until(lambda: writer.written == 20)
    assert writer.dropped == 0


def test_a_failing_sink_costs_lines_is_reported_once_and_recovers(writer_of, caplog):
    sink = Memory(OSError(28, "No space left on device"))
    writer = writer_of(sink, interval=0.005)
    for number in range(3):
        writer.offer(f"lost {number}")
        until(lambda: writer.dropped == number + 1)  # noqa: B023 - called at once
    assert sink.tries == 3
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "test log" in caplog.text
    assert "No space left" in caplog.text
    sink.error = None
    writer.offer("kept")
    until(lambda: sink.lines == ["kept"])
    until(lambda: len(caplog.records) == 2)
    assert "3 lines were dropped" in caplog.records[1].getMessage()
    assert (writer.written, writer.dropped) == (1, 3)


def test_each_trouble_is_reported(writer_of, caplog):
    sink = Memory(OSError(28, "No space left on device"))
    writer = writer_of(sink, interval=0.005)
    writer.offer("lost")
    until(lambda: writer.dropped == 1)
    sink.error = None
    writer.offer("kept")
    until(lambda: writer.written == 1)
    sink.error = BrokenPipeError(32, "Broken pipe")
    writer.offer("lost")
    until(lambda: writer.dropped == 2 and len(caplog.records) == 3)
    assert "Broken pipe" in caplog.records[2].getMessage()


def test_a_record_that_cannot_be_encoded_costs_only_itself(writer_of, caplog):
    sink = Memory()
    writer = writer_of(sink)
    for text in ("before", "\ud800", "after"):
        writer.offer(text)
    writer.close()
    assert sink.lines == ["before", "after"]
    assert (writer.written, writer.dropped) == (2, 1)
    assert "UnicodeEncodeError" in caplog.text


def test_an_encoder_that_fails_halfway_loses_only_the_rest(writer_of):
    sink = Memory()
    writer = writer_of(sink, encode=one_line_each)
    for text in ("a", "b", "\ud800", "c"):
        writer.offer(text)
    writer.close()
    assert sink.lines == ["a", "b"]
    assert (writer.written, writer.dropped) == (2, 2)


def test_what_is_offered_after_the_end_is_dropped(writer_of):
    sink = Memory()
    writer = writer_of(sink)
    writer.close()
    writer.offer("late")
    assert writer.close()
    assert (sink.lines, writer.dropped) == ([], 1)


def test_closing_waits_no_longer_than_it_may(writer_of):
    sink = Blocked()
    writer = writer_of(sink, limit=100)
    for number in range(200):
        writer.offer(number)
    assert not writer.close(timeout=0.05)
    sink.free.set()
    assert writer.close(timeout=20)
    assert (writer.written, writer.dropped) == (100, 100)


def test_a_sink_that_hangs_holds_nobody_up(writer_of):
    sink = Blocked()
    writer = writer_of(sink, limit=50, interval=0.001)
    for number in range(10_000):
        writer.offer(number)
    assert writer.dropped >= 9000
    sink.free.set()
    writer.close(timeout=20)
    assert writer.written + writer.dropped == 10_000
    assert len(sink.lines) == writer.written


@given(st.lists(st.integers(1, 400), max_size=60), st.integers(1, 5000))
def test_every_line_is_written_or_counted(sizes, limit):
    def lines_of(records):
        for record in records:
            yield Lines(b"x\n" * record, record, 0.0)

    sink = Memory()
    writer = LineWriter("test log", lines_of, sink, limit=limit, interval=0.0001)
    for size in sizes:
        writer.offer(size, size)
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


@pytest.mark.parametrize(("offered", "first"), [(10, 10), (500, 128), (1024, 128), (8000, 1000), (60_000, 7500)])
def test_slices_are_short_and_grow_with_what_waits(writer_of, offered, first):
    slices = []

    def encode_and_count(records):
        slices.append(len(records))
        return encode(records)

    writer = writer_of(Memory(), encode=encode_and_count)
    for number in range(offered):
        writer.offer(number)
    assert writer.close(timeout=30)
    assert slices[0] == first
    assert sum(slices) == offered
    assert slices == sorted(slices, reverse=True)

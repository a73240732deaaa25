"""Publishing and reading at once: readers see the old table or the new one, never half of either."""

import errno
import os
import threading
from datetime import timedelta

import pytest
from online_tables import DAY, NOON, Clock, draft, publisher, visible

from churn_serving.online import pointer
from churn_serving.online.keyed_format import OnlineStoreError
from churn_serving.online.keyed_table import KeyedTable
from churn_serving.online.pointer import POINTER, NothingPublishedError
from churn_serving.online.publication import Publication


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "online"


def published(folder):
    return pointer.decode(pointer.read_bytes(folder), folder)


def contents(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


# --- publishing


def test_the_pointer_says_what_is_published(folder):
    entry = publisher(folder).publish(draft())
    path = folder / entry.file
    assert published(folder).published == (entry,)
    assert path.name == f"features_2026-01-05_{entry.sha256[:16]}.keyed"
    assert (entry.as_of_date, entry.rows, entry.size, entry.published_at) == (DAY, 3, path.stat().st_size, NOON)
    assert KeyedTable.open(path, entry.sha256).columns == ("at_risk", "x")


def test_the_same_again_changes_nothing(folder):
    clock = Clock()
    first = publisher(folder, clock=clock).publish(draft())
    before = contents(folder)
    clock.forward(days=1)
    assert publisher(folder, clock=clock).publish(draft()) == first
    assert contents(folder) == before


def test_an_older_day_never_replaces_a_newer_one(folder):
    newer = publisher(folder).publish(draft(day=DAY))
    before = contents(folder)
    assert publisher(folder).publish(draft(day=DAY - timedelta(days=1))) is None
    assert contents(folder) == before
    (folder / newer.file).unlink()
    older = publisher(folder).publish(draft(day=DAY - timedelta(days=1)))
    assert published(folder).published == (older,)


def test_a_damaged_table_is_repaired_by_publishing_it_again(folder):
    entry = publisher(folder).publish(draft())
    path = folder / entry.file
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"\xff")
    with pytest.raises(OnlineStoreError):
        Publication(folder).poll()
    publisher(folder).publish(draft())
    assert path.read_bytes() == whole
    assert Publication(folder).poll().entry == entry


def test_the_newest_three_tables_are_kept(folder):
    clock = Clock()
    entries = []
    for number in range(6):
        entries.append(publisher(folder, clock=clock).publish(draft(day=DAY + timedelta(days=number))))
        clock.forward(days=1)
    assert visible(folder) == [entry.file for entry in entries[-3:]]
    assert published(folder).published == (entries[-1],)


def test_no_table_goes_while_a_reader_may_still_have_it_mapped(folder):
    clock = Clock()
    for fill in range(6):
        publisher(folder, clock=clock).publish(draft(fill=fill))
        clock.forward(minutes=1)
    assert len(visible(folder)) == 6
    clock.forward(minutes=15)
    publisher(folder, clock=clock).publish(draft(fill=6))
    assert len(visible(folder)) == 3


def test_a_table_that_comes_back_is_retired_no_more(folder):
    clock = Clock()
    for fill in (1, 2, 1):
        entry = publisher(folder, clock=clock).publish(draft(fill=fill))
        clock.forward(days=1)
    found = published(folder)
    assert found.published == (entry,)
    assert entry.file not in {retired.file for retired in found.retired}
    assert len(visible(folder)) == 2


def test_what_a_killed_publisher_left_is_cleared_away(folder):
    clock = Clock()
    publisher(folder, clock=clock).publish(draft())
    for name in (".features.part", "..features.part.1-aa.part"):
        (folder / name).write_bytes(b"half")
    stray = folder / "features_2026-01-05_0000000000000000.keyed"
    stray.write_bytes(b"its file was finished, its pointer was not")
    for fill in range(2, 5):
        clock.forward(hours=1)
        publisher(folder, clock=clock).publish(draft(fill=fill))
    assert not list(folder.glob("*.part"))
    assert not stray.exists()


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_full_disk_leaves_what_was_published(folder, monkeypatch, step):
    entry = publisher(folder).publish(draft())
    calls, whole = [], os.replace

    def full(source, target, **more):
        calls.append(source)
        if len(calls) == step:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(source, target, **more)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        publisher(folder).publish(draft(fill=2))
    monkeypatch.undo()
    assert Publication(folder).poll().entry == entry
    assert publisher(folder).publish(draft(fill=2)) == Publication(folder).poll().entry


def test_a_refused_draft_leaves_what_was_published(folder):
    entry = publisher(folder).publish(draft())
    with pytest.raises(OnlineStoreError, match="stands twice"):
        publisher(folder).publish(draft(["a", "a"]))
    assert Publication(folder).poll().entry == entry
    assert not list(folder.glob("*.part"))


def test_several_publishers_lose_nothing(folder):
    def publish(start):
        for number in range(start, 20, 2):
            publisher(folder, keep=30).publish(draft(day=DAY + timedelta(days=number)))

    threads = [threading.Thread(target=publish, args=[start]) for start in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    days = [entry.as_of_date for entry in published(folder).published]
    assert days == [DAY + timedelta(days=number) for number in reversed(range(20))]


def test_a_publisher_that_waits_too_long_says_so(folder):
    waiting = publisher(folder)
    waiting._lock_timeout = 0.01
    with publisher(folder).locked(), pytest.raises(OnlineStoreError, match="locked by another publisher"):
        waiting.publish(draft())
    assert waiting.publish(draft()) is not None


# --- reading


def test_a_reader_opens_what_is_new_and_only_that(folder):
    reader = Publication(folder)
    entry = publisher(folder).publish(draft(fill=1))
    opened = reader.poll()
    assert (opened.entry, reader.current) == (entry, opened)
    assert reader.poll() is None
    publisher(folder).publish(draft(fill=2))
    assert reader.poll().table.row(0).tolist() == [2.0, 2.0]
    assert opened.table.row(0).tolist() == [1.0, 1.0]


def test_nothing_published_yet_is_an_error_of_its_own(folder):
    reader = Publication(folder)
    with pytest.raises(NothingPublishedError, match=r"current\.json is not there"):
        reader.poll()
    publisher(folder).publish(draft())
    assert reader.poll() is not None


def test_an_empty_pointer_names_no_table(folder):
    folder.mkdir()
    pointer.write(folder, pointer.Pointer())
    with pytest.raises(NothingPublishedError, match="names no table"):
        Publication(folder).poll()


def test_a_broken_table_leaves_the_old_one_in_use_and_is_told_each_time(folder):
    reader = Publication(folder)
    publisher(folder).publish(draft(fill=1))
    old = reader.poll()
    path = folder / publisher(folder).publish(draft(fill=2)).file
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] + b"\1" * 8)
    for _ in range(3):
        with pytest.raises(OnlineStoreError, match=r"SHA-256 is .*: publish it again"):
            reader.poll()
        assert reader.current is old
    path.write_bytes(whole)
    os.utime(path, ns=(1, 1))
    assert reader.poll().table.row(0).tolist() == [2.0, 2.0]


def test_a_refused_table_is_not_read_again(folder, monkeypatch):
    reader = Publication(folder)
    path = folder / publisher(folder).publish(draft()).file
    path.write_bytes(b"cut")
    reads, whole = [], KeyedTable.open
    monkeypatch.setattr(KeyedTable, "open", lambda *rest: reads.append(rest) or whole(*rest))
    for _ in range(3):
        with pytest.raises(OnlineStoreError):
            reader.poll()
    assert len(reads) == 1


def test_a_table_that_cannot_be_read_just_now_is_tried_again(folder, monkeypatch):
    reader = Publication(folder)
    publisher(folder).publish(draft())

    def stale(*_, **__):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr("mmap.mmap", stale)
    with pytest.raises(OnlineStoreError, match="cannot be read"):
        reader.poll()
    monkeypatch.undo()
    assert reader.poll() is not None


def test_a_table_that_is_missing_is_named(folder):
    path = folder / publisher(folder).publish(draft()).file
    path.unlink()
    with pytest.raises(OnlineStoreError, match=f"{path} cannot be opened"):
        Publication(folder).poll()


def test_another_table_than_was_published_is_refused(folder):
    entry = publisher(folder).publish(draft())
    content = (folder / POINTER).read_text().replace('"rows": 3', '"rows": 4')
    (folder / POINTER).write_text(content)
    assert entry.rows == 3
    with pytest.raises(OnlineStoreError, match="3 rows as of 2026-01-05, and 4 as of"):
        Publication(folder).poll()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{", "["),
        ("features_2026", "../features_2026"),
        ("features_2026", "/features_2026"),
        ("features_2026", ".features_2026"),
        ('"size"', '"length"'),
        ('"sha256": "', '"sha256": "x'),
    ],
)
def test_a_damaged_pointer_is_refused_and_the_old_table_stays(folder, old, new):
    reader = Publication(folder)
    publisher(folder).publish(draft())
    opened = reader.poll()
    (folder / POINTER).write_text((folder / POINTER).read_text().replace(old, new, 1))
    with pytest.raises(OnlineStoreError, match=r"current\.json is damaged .*: remove it and publish again"):
        reader.poll()
    assert reader.current is opened


def test_readers_see_one_whole_table_or_another_while_they_are_replaced(folder):
    ids = [f"u{number}" for number in range(300)]
    publisher(folder).publish(draft(ids, fill=0))
    reader, seen = Publication(folder), []

    def publish():
        for fill in range(1, 30):
            publisher(folder).publish(draft(ids, fill=fill))

    thread = threading.Thread(target=publish)
    thread.start()
    while True:
        is_last = not thread.is_alive()
        if opened := reader.poll():
            cells = {cell for user_id in ids for cell in opened.table.row(opened.table.find(user_id)).tolist()}
            assert len(cells) == 1
            seen += cells
        if is_last:
            break
    thread.join()
    assert seen == sorted(set(seen))
    assert seen[-1] == 29.0

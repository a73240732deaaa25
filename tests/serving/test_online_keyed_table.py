"""Tables by user id: what was written is found to the bit; what is damaged is refused, or harmless."""

import errno
import gc
import hashlib
import os
import threading
import weakref
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from online_tables import DAY, draft, same_bits, written

from churn_serving.online import keyed_format
from churn_serving.online.keyed_format import MAGIC, PREFIX, OnlineStoreError, Places, decode_header
from churn_serving.online.keyed_table import KeyedTable
from churn_serving.online.keyed_writer import Draft, Ids, write_keyed_table

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
IDS = st.lists(TEXT | st.text(alphabet="ab", max_size=4), unique=True, max_size=40)
ODD_IDS = (
    "",
    "a",
    "aa",
    "aaa",
    "ab",
    "u1",
    "u10",
    "u" * 100_000,
    "é",
    "e\u0301",
    "日本",
    "\x00",
    "a\x00",
    "🙂",
    "\n",
    '"',
)
MAPS = Path("/proc/self/maps")
SAMPLE = tuple(f"user-{number}" for number in range(9))


@pytest.fixture
def sample(tmp_path):
    """The path of a table of nine users, with a category."""
    path = tmp_path / "sample.keyed"
    matrix = np.arange(27.0).reshape(9, 3)
    write_keyed_table(path, draft(SAMPLE, columns=("x", "y", "plan"), levels={"plan": ("free",)}, matrix=matrix))
    return path


def places_of(path):
    content = path.read_bytes()
    _, length = PREFIX.unpack(content[: PREFIX.size])
    return decode_header(content[PREFIX.size : PREFIX.size + length], len(content))[1]


def use_everything(table):
    """Do with a table all that a service does."""
    for user_id in (*SAMPLE, "stranger", ""):
        row = table.find(user_id)
        if row >= 0:
            table.row(row).tolist()
    return [table.user_id(row) for row in range(len(table))], float(np.nansum(table.matrix))


# --- what is written is found


@given(ids=IDS, strangers=IDS, columns=st.integers(0, 4), data=st.data())
def test_every_id_has_its_row_to_the_bit_and_nobody_else_has_one(tmp_path_factory, ids, strangers, columns, data):
    matrix = data.draw(arrays(np.float64, (len(ids), columns)))
    path = tmp_path_factory.getbasetemp() / "law.keyed"
    table = written(path, ids, columns=[f"c{place}" for place in range(columns)], matrix=matrix)
    assert len(table) == len(ids)
    for place, user_id in enumerate(ids):
        row = table.find(user_id)
        assert row == place
        assert same_bits(table.row(row), matrix[place])
        assert table.user_id(row) == user_id
        assert table.find_key(user_id.encode(), crc32(user_id.encode())) == row
    assert all(table.find(stranger) == -1 for stranger in set(strangers) - set(ids))


def test_odd_ids_are_told_apart(tmp_path):
    table = written(tmp_path / "odd.keyed", ODD_IDS)
    assert [table.find(user_id) for user_id in ODD_IDS] == list(range(len(ODD_IDS)))
    assert table.find("u" * 99_999) == table.find("aaaa") == table.find("\ud83d") == -1


def test_ids_with_one_checksum_are_told_apart(tmp_path):
    one, other = "plumless", "buckeroo"
    assert crc32(one.encode()) == crc32(other.encode())
    table = written(tmp_path / "same.keyed", ["x", one, "y", other])
    assert (table.find(one), table.find(other)) == (1, 3)
    assert written(tmp_path / "one.keyed", [one]).find(other) == -1


def test_a_large_table_in_many_blocks(tmp_path):
    ids = [f"u{number}" for number in range(20_000)]
    matrix = np.random.default_rng(0).normal(size=(len(ids), 3))
    blocks = [matrix[:1], matrix[1:1], matrix[1:7000], matrix[7000:]]
    path = tmp_path / "large.keyed"
    write_keyed_table(path, Draft(DAY, Ids.of(ids), ("x", "y", "z"), blocks))
    table = KeyedTable.open(path)
    assert [table.find(user_id) for user_id in ids] == list(range(len(ids)))
    assert same_bits(table.matrix, matrix)
    assert table.find("u20000") == -1


def test_the_header_comes_back(tmp_path):
    levels, metadata = {"plan": ("free", "pró", "")}, {"model_version": "v1", "share": 0.25, "n": 3}
    table = written(tmp_path / "head.keyed", columns=("x", "plan"), levels=levels, metadata=metadata)
    assert (table.header.as_of_date, table.columns, table.levels) == (DAY, ("x", "plan"), levels)
    assert table.header.metadata == metadata


def test_the_row_of_a_stranger_is_not_the_last_one(tmp_path):
    table = written(tmp_path / "t.keyed")
    for ask in (table.row, table.user_id):
        for row in (-1, 3):
            with pytest.raises(IndexError):
                ask(row)


def test_rows_cannot_be_written_to(tmp_path):
    table = written(tmp_path / "t.keyed")
    with pytest.raises(ValueError, match="read-only"):
        table.row(0)[0] = 5.0


def test_threads_share_a_table(tmp_path):
    ids = [f"u{number}" for number in range(500)]
    table = written(tmp_path / "t.keyed", ids, matrix=np.arange(1000.0).reshape(500, 2))
    wrong = []

    def look():
        wrong.extend(place for place, user_id in enumerate(ids) if table.row(table.find(user_id))[0] != 2.0 * place)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not MAPS.exists(), reason="this system does not list its mappings")
def test_the_mapping_lasts_as_long_as_a_row_of_it(tmp_path):
    def is_mapped():
        return "lasting.keyed" in MAPS.read_text()

    table = written(tmp_path / "lasting.keyed", fill=7.0)
    gone = weakref.ref(table)
    row = table.row(1)
    del table
    gc.collect()
    assert gone() is None
    assert row.tolist() == [7.0, 7.0]
    assert is_mapped()
    del row
    gc.collect()
    assert not is_mapped()


# --- writing


def test_equal_content_gives_equal_bytes_however_it_is_cut(tmp_path):
    matrix = np.arange(8.0).reshape(4, 2)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    one = write_keyed_table(whole, draft("abcd", matrix=matrix, levels={"x": ("p", "q")}))
    blocks = [matrix[:3], np.asfortranarray(matrix[3:])]
    other = write_keyed_table(cut, Draft(DAY, Ids.of("abcd"), ("at_risk", "x"), blocks, {"x": ("p", "q")}))
    assert whole.read_bytes() == cut.read_bytes()
    assert one == other
    assert (one.rows, one.size) == (4, whole.stat().st_size)


def test_an_id_that_stands_twice_is_refused_and_the_old_file_stays(sample):
    before = sample.read_bytes()
    with pytest.raises(OnlineStoreError, match="'b' stands twice"):
        write_keyed_table(sample, draft(["a", "b", "c", "b"]))
    assert sample.read_bytes() == before
    assert [path.name for path in sample.parent.iterdir()] == [sample.name]


@pytest.mark.parametrize("rows", [2, 4])
def test_rows_without_ids_and_ids_without_rows_are_refused(sample, rows):
    before = sample.read_bytes()
    wrong = Draft(DAY, Ids.of("abc"), ("x",), [np.zeros((rows, 1))])
    with pytest.raises(OnlineStoreError, match=f"{rows} rows and 3 ids"):
        write_keyed_table(sample, wrong)
    assert sample.read_bytes() == before


def test_blocks_of_another_width_are_refused(tmp_path):
    with pytest.raises(OnlineStoreError, match="does not have 2 columns"):
        write_keyed_table(tmp_path / "t", draft("abc", matrix=np.zeros((3, 1))))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"columns": ("x", "x")}, "stands twice"),
        ({"levels": {"plan": ("free",)}}, "levels of a column"),
        ({"levels": {"x": ("free", "free")}}, "level stands twice"),
    ],
)
def test_headers_that_contradict_themselves_are_not_written(tmp_path, change, reason):
    with pytest.raises(OnlineStoreError, match=reason):
        write_keyed_table(tmp_path / "t", draft(**change))
    assert list(tmp_path.iterdir()) == []


def test_more_than_one_file_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(keyed_format, "MAX_HEADER", 200)
    with pytest.raises(OnlineStoreError, match="header would be"):
        write_keyed_table(tmp_path / "t", draft(levels={"x": tuple(map(str, range(200)))}))
    monkeypatch.setattr("churn_serving.online.keyed_writer.MAX_UINT32", 3)
    with pytest.raises(OnlineStoreError, match="more than one file holds"):
        write_keyed_table(tmp_path / "t", draft(["abcd"]))


def test_a_full_disk_leaves_the_old_file(sample, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = sample.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_keyed_table(sample, draft("xyz"))
    monkeypatch.undo()
    assert sample.read_bytes() == before
    assert [path.name for path in sample.parent.iterdir()] == [sample.name]


# --- damage


def test_a_file_cut_or_grown_anywhere_is_refused(sample):
    content, places = sample.read_bytes(), places_of(sample)
    edges = {0, 7, 8, PREFIX.size, *vars(places).values()}
    lengths = {length for edge in edges for length in range(edge - 2, edge + 3)} | set(range(0, len(content), 97))
    for length in sorted(lengths - {len(content)}):
        if length >= 0:
            sample.write_bytes(content[:length].ljust(length, b"\0"))
            with pytest.raises(OnlineStoreError, match=r"sample\.keyed is refused, .*: publish it again"):
                KeyedTable.open(sample)


def test_every_damaged_byte_is_refused_or_harmless_and_never_passes_the_digest(sample):
    content = sample.read_bytes()
    digest, opened = hashlib.sha256(content).hexdigest(), 0
    use_everything(KeyedTable.open(sample, digest))
    for place in range(len(content)):
        for flip in (0x01, 0x80, 0xFF):
            broken = bytearray(content)
            broken[place] ^= flip
            sample.write_bytes(broken)
            try:
                use_everything(KeyedTable.open(sample))
                opened += 1
            except OnlineStoreError:
                pass
            if flip == 0x01:
                with pytest.raises(OnlineStoreError):
                    KeyedTable.open(sample, digest)
    assert 0 < opened < 3 * len(content)


@given(data=st.data())
def test_random_bytes_in_the_arrays_are_refused_or_harmless(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "random.keyed"
    write_keyed_table(path, draft(SAMPLE, columns=("x", "y"), matrix=np.ones((9, 2))))
    content, places = bytearray(path.read_bytes()), places_of(path)
    begin = data.draw(st.integers(places.starts, len(content) - 1))
    noise = data.draw(st.binary(min_size=1, max_size=64))
    content[begin : begin + len(noise)] = noise[: len(content) - begin]
    path.write_bytes(content)
    try:
        use_everything(KeyedTable.open(path))
    except OnlineStoreError as error:
        assert "index" in str(error)  # noqa: PT017 - it may also be harmless


@given(content=st.binary(max_size=300), begins_well=st.booleans(), length=st.integers(0, 2**64 - 1))
def test_other_files_are_refused(tmp_path_factory, content, begins_well, length):
    path = tmp_path_factory.getbasetemp() / "other.keyed"
    path.write_bytes(PREFIX.pack(MAGIC, length) + content if begins_well else content)
    with pytest.raises(OnlineStoreError, match="is refused"):
        KeyedTable.open(path)


HOSTILE = (
    (b'"rows":9', b'"rows":8'),
    (b'"rows":9', b'"rows":4294967294'),
    (b'"rows":9', b'"rows":-1'),
    (b'"rows":9', b'"rows":1e99'),
    (b'"buckets":16', b'"buckets":15'),
    (b'"buckets":16', b'"buckets":0'),
    (b'"buckets":16', b'"buckets":4294967296'),
    (b'"id_bytes":54', b'"id_bytes":4294967295'),
    (b'"columns":["x","y","plan"]', b'"columns":["x","x","plan"]'),
    (b'"columns":["x","y","plan"]', b'"columns":["x","y","z"]'),
    (b'"columns":["x","y","plan"]', b'"columns":["x","plan"]'),
    (b'"levels":{"plan":["free"]}', b'"levels":{"plan":["p","p"]}'),
    (b'"metadata":{}', b'"metadata":[]'),
    (b'"metadata":{}', b'"meta":{}'),
    (b"2026-01-05", b"2026-13-05"),
    (b'"x"', b'"\xff"'),
)  # fmt: skip


@pytest.mark.parametrize(("old", "new"), HOSTILE)
def test_a_header_that_describes_another_file_is_refused(sample, old, new):
    content = sample.read_bytes()
    _, length = PREFIX.unpack(content[: PREFIX.size])
    header = content[PREFIX.size : PREFIX.size + length].rstrip()
    assert old in header
    changed = header.replace(old, new, 1).ljust(length)
    assert len(changed) == length
    sample.write_bytes(content[: PREFIX.size] + changed + content[PREFIX.size + length :])
    with pytest.raises(OnlineStoreError, match="is refused"):
        KeyedTable.open(sample)


@pytest.mark.parametrize("part", ["starts", "slots", "offsets"])
def test_an_index_that_points_outside_is_refused(sample, part):
    content, place = bytearray(sample.read_bytes()), getattr(places_of(sample), part)
    content[place + 4 : place + 8] = b"\xff\xff\xff\x7f"
    sample.write_bytes(content)
    with pytest.raises(OnlineStoreError, match="index"):
        KeyedTable.open(sample)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "missing.keyed", tmp_path):
        with pytest.raises(OnlineStoreError, match=f"{path} cannot be read"):
            KeyedTable.open(path)


def test_places_follow_each_other(sample):
    places = places_of(sample)
    assert isinstance(places, Places)
    assert sorted(vars(places).values()) == list(vars(places).values())
    assert all(place % keyed_format.ALIGNMENT == 0 for place in list(vars(places).values())[:-1])

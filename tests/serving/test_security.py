import contextlib
import datetime as dt
import hashlib
import logging
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_serving.key_file import KEY_LENGTH, KeyFileError, KeyRing, generate
from churn_serving.security import Caller, Denied, Keys, OpenListenError, is_loopback, refuse_open_listen

NOW = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC).timestamp()
LATER = time.time() + 3600  # far enough from the files' time stamps for these to be trusted
DIGEST = "ab" * 32


def keys_of(path, *entries, now=NOW):
    path.write_text("".join(entry.line() for entry in entries))
    return Keys(path, clock=lambda: now)


@pytest.fixture
def crm():
    return generate("crm", ["predict"])


@pytest.fixture
def ops():
    return generate("ops", ["admin"])


@pytest.fixture
def keys(tmp_path, crm, ops):
    return keys_of(tmp_path / "keys.yaml", crm[1], ops[1])


def bearer(key):
    return f"Bearer {key}".encode()


def test_a_key_is_random_and_only_its_digest_is_kept(crm):
    key, entry = crm
    assert re.fullmatch(r"churn_[A-Za-z0-9_-]{43}", key)
    assert len(key) == KEY_LENGTH
    assert entry.sha256 == hashlib.sha256(key.encode()).hexdigest()
    assert key not in entry.line()
    assert generate("crm", ["predict"])[0] != key


def test_entries_come_back_from_the_file(tmp_path):
    entries = (
        generate("crm", ["predict"])[1],
        generate("board.v2", ["read", "predict"], dt.date(2027, 1, 31))[1],
        generate("1", ["admin"])[1],
    )
    path = tmp_path / "keys.yaml"
    path.write_text("# ours\n" + "".join(entry.line() for entry in entries))
    assert KeyRing.load(path).entries == entries


@pytest.mark.parametrize("sha256", ["1" * 64, "0" * 64, "0b" + "1" * 62, "12e4" + "5" * 60, "AB" * 32])
def test_a_digest_that_looks_like_a_number_stays_a_digest(sha256):
    ring = KeyRing.parse(f"- {{name: a, scopes: [read], sha256: {sha256}}}".encode(), "f")
    assert ring.entries[0].sha256 == sha256.lower()


def test_both_headers_are_understood(keys, crm):
    caller = Caller("crm", frozenset({"predict"}))
    assert keys.check(bearer(crm[0]), None, "predict") == caller
    assert keys.check(None, crm[0].encode(), "predict") == caller
    assert keys.check(bearer(crm[0]), crm[0].encode(), "predict") == caller
    assert keys.check(b"bEARER   " + crm[0].encode() + b" ", None, "predict") == caller


def test_a_key_does_what_its_scopes_say_and_admin_does_all(keys, crm, ops):
    denied = keys.check(bearer(crm[0]), None, "read")
    assert denied.status == 403
    assert "`read`" in denied.detail
    assert 'scope="read"' in denied.challenge
    assert [keys.check(bearer(crm[0]), None, scope).status for scope in ("read", "admin")] == [403, 403]
    assert [keys.check(bearer(ops[0]), None, scope).name for scope in ("predict", "read", "admin")] == ["ops"] * 3


def test_without_a_key_it_is_said_how_to_send_one(keys):
    for denied in (keys.check(None, None, "read"), keys.check(b"", b"", "read")):
        assert denied.status == 401
        assert "X-API-Key" in denied.detail
        assert denied.challenge.startswith("Bearer")


def test_headers_that_disagree_are_refused_even_if_one_is_right(keys, crm, ops):
    assert keys.check(bearer(crm[0]), ops[0].encode(), "predict").status == 401
    assert keys.check(bearer(crm[0]), b"x", "predict").status == 401
    assert keys.check(b"Basic abc", crm[0].encode(), "predict").status == 401
    assert keys.check(bearer(f"{crm[0]}, Bearer {ops[0]}"), None, "predict").status == 401


def test_a_key_ends_with_its_last_day(tmp_path):
    key, entry = generate("crm", ["predict"], dt.date(2026, 1, 5))
    midnight = dt.datetime(2026, 1, 6, tzinfo=dt.UTC).timestamp()
    path = tmp_path / "keys.yaml"
    assert keys_of(path, entry, now=midnight - 0.001).check(bearer(key), None, "predict").name == "crm"
    denied = keys_of(path, entry, now=midnight).check(bearer(key), None, "predict")
    assert (denied.status, "expired" in denied.detail) == (401, True)


def test_the_last_day_that_there_is_can_be_named(tmp_path):
    key, entry = generate("crm", ["predict"], dt.date.max)
    assert isinstance(keys_of(tmp_path / "k", entry).check(bearer(key), None, "predict"), Caller)


@pytest.fixture(scope="module")
def ring_of_five(tmp_path_factory):
    made = [generate(f"k{number}", ["predict"]) for number in range(5)]
    keys = keys_of(tmp_path_factory.mktemp("keys") / "keys.yaml", *(entry for _, entry in made))
    return keys, [key for key, _ in made]


@given(st.none() | st.binary(), st.none() | st.binary())
def test_no_bytes_raise_or_pass(ring_of_five, authorization, x_api_key):
    denied = ring_of_five[0].check(authorization, x_api_key, "predict")
    assert isinstance(denied, Denied)
    assert denied.status == 401


@given(st.integers(0, 4), st.integers(0, KEY_LENGTH - 1), st.integers(0, 255))
def test_only_the_right_key_passes(ring_of_five, number, place, byte):
    keys, texts = ring_of_five
    changed = bytearray(texts[number].encode())
    changed[place] = byte
    is_right = bytes(changed) == texts[number].encode()
    found = keys.check(b"Bearer " + changed, None, "predict")
    # A space at the end is not the key's, so it makes the key too short.
    assert isinstance(found, Caller) == is_right
    assert is_right or found.status == 401
    assert isinstance(keys.check(None, bytes(changed), "predict"), Caller) == is_right


@given(st.text(max_size=60))
def test_the_digest_itself_is_no_key(ring_of_five, text):
    keys, _ = ring_of_five
    for entry in keys.ring.entries:
        assert isinstance(keys.check(None, entry.sha256.encode() + text.encode("utf-8", "replace"), "predict"), Denied)


def test_every_entry_is_compared_wherever_the_key_is(ring_of_five, monkeypatch):
    keys, texts = ring_of_five
    compared = []
    monkeypatch.setattr("churn_serving.security.compare_digest", lambda a, b: compared.append(a) or a == b)
    for text in [*texts, "churn_" + "x" * 43]:
        compared.clear()
        keys.check(None, text.encode(), "predict")
        assert [part.hex() for part in compared] == [entry.sha256 for entry in keys.ring.entries]


def test_a_check_takes_a_few_microseconds(ring_of_five):
    keys, texts = ring_of_five
    header = bearer(texts[4])
    start = time.process_time()
    for _ in range(10_000):
        keys.check(header, None, "predict")
    assert (time.process_time() - start) / 10_000 < 15e-6  # ten times what it takes, for a loaded machine


GOOD = f"{{name: a, scopes: [predict], sha256: {DIGEST}}}"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ["at least one entry"]),
        ("[]", ["at least one entry"]),
        ("keys: []", ["should be a list"]),
        ("- [", ["not YAML", "line 1"]),
        ("- 'x", ["not YAML"]),
        ("- just text", ["entry 1", "no entry such as"]),
        (f"- {GOOD}\n- {{}}", ["entry 2", "`name`", "nothing"]),
        (f"- {{name: 'a b', scopes: [predict], sha256: {DIGEST}}}", ["`name`", "'a b'"]),
        (f"- {{name: '', scopes: [predict], sha256: {DIGEST}}}", ["`name`"]),
        (f"- {{name: a, sha256: {DIGEST}}}", ["entry 1 (a)", "`scopes`", "predict, read, admin"]),
        (f"- {{name: a, scopes: [], sha256: {DIGEST}}}", ["`scopes`"]),
        (f"- {{name: a, scopes: predict, sha256: {DIGEST}}}", ["`scopes`", "list"]),
        (f"- {{name: a, scopes: [write], sha256: {DIGEST}}}", ["'write'", "predict, read, admin"]),
        (f"- {{name: a, scopes: [[read]], sha256: {DIGEST}}}", ["unknown scope a list"]),
        ("- {name: a, scopes: [read]}", ["`sha256`", "nothing"]),
        ("- {name: a, scopes: [read], sha256: abc}", ["`sha256`", "64", "3 characters"]),
        (f"- {{name: a, scopes: [read], sha256: {'g' * 64}}}", ["`sha256`", "64"]),
        (f"- {{name: a, scopes: [read], sha256: {DIGEST}, expires: soon}}", ["`expires`", "'soon'", "2027-01-31"]),
        (f"- {{name: a, scopes: [read], sha256: {DIGEST}, expires: 2026-02-30}}", ["`expires`", "2026-02-30"]),
        (f"- {{name: a, scopes: [read], sha256: {DIGEST}, expires: }}", ["`expires`"]),
        (f"- {{name: a, scopes: [read], sha256: {DIGEST}, scope: read}}", ["'scope'", "name, scopes, sha256, expires"]),
        (f"- {GOOD}\n- {GOOD.replace('ab', 'cd')}", ["named a"]),
        (f"- {GOOD}\n- {GOOD.replace('name: a', 'name: b')}", ["a and b are the same key"]),
        ("- !!python/object/apply:os.system ['true']", ["entry 1"]),
        ("[" * 1500, ["not YAML"]),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, content, said):
    path = tmp_path / "keys.yaml"
    path.write_text(content)
    with pytest.raises(KeyFileError) as refused:
        KeyRing.load(path)
    for part in [str(path), *said]:
        assert part in str(refused.value)


def test_a_file_that_is_missing_or_no_text_is_said(tmp_path):
    with pytest.raises(KeyFileError, match=r"keys\.yaml cannot be read: No such file"):
        Keys(tmp_path / "keys.yaml")
    (tmp_path / "keys.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(KeyFileError, match="UTF-8"):
        KeyRing.load(tmp_path / "keys.yaml")


@pytest.mark.parametrize(
    "content",
    [
        "- {name: KEY, scopes: [read], sha256: DIGEST}",
        "- {name: a, scopes: [KEY], sha256: DIGEST}",
        "- {name: a, scopes: KEY, sha256: DIGEST}",
        "- {name: a, scopes: [read], sha256: KEY}",
        "- {name: a, scopes: [read], sha256: DIGEST, expires: KEY}",
        "- {name: a, scopes: [read], sha256: DIGEST, KEY: x}",
        "- KEY",
        "KEY",
        "- {name: a, KEY",
        "- *KEY",
        "- !KEY x",
    ],
)
def test_a_key_written_into_the_file_by_mistake_is_not_repeated(content, crm):
    content = content.replace("KEY", crm[0]).replace("DIGEST", DIGEST)
    with pytest.raises(KeyFileError) as refused:
        KeyRing.parse(content.encode(), "keys.yaml")
    assert crm[0] not in str(refused.value)
    assert refused.value.__cause__ is None


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: ("- " + text).encode("utf-8", "replace")))
def test_no_file_does_worse_than_being_refused(content):
    with contextlib.suppress(KeyFileError):
        assert KeyRing.parse(content, "f").entries


@pytest.mark.parametrize(("name", "scopes"), [("", ["read"]), ("a b", ["read"]), ("a", []), ("a", ["write"])])
def test_an_impossible_key_is_not_made(name, scopes):
    with pytest.raises(KeyFileError):
        generate(name, scopes)


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path, crm, ops):
    path = tmp_path / "keys.yaml"
    keys = keys_of(path, crm[1])
    assert not keys.refresh(LATER)
    ring = keys.ring
    assert not keys.refresh(LATER)
    assert keys.ring is ring
    path.write_text(ops[1].line())
    assert keys.refresh(LATER)
    assert keys.check(bearer(ops[0]), None, "read").name == "ops"
    assert keys.check(bearer(crm[0]), None, "predict").status == 401


def test_a_swapped_symbolic_link_is_noticed(tmp_path, crm, ops):
    for name, (_, entry) in {"v1": crm, "v2": ops}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys.yaml").write_text(entry.line())
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "keys.yaml").symlink_to("data/keys.yaml")
    keys = Keys(tmp_path / "keys.yaml")
    (tmp_path / "next").symlink_to("v2")
    (tmp_path / "next").replace(tmp_path / "data")
    assert keys.refresh(LATER)
    assert [entry.name for entry in keys.ring.entries] == ["ops"]


@pytest.mark.parametrize(("age", "is_noticed"), [(0.0, True), (1.0, True), (-1.0, True), (3.0, False)])
def test_a_fresh_file_is_read_again_whatever_its_stamp(tmp_path, monkeypatch, age, is_noticed):
    (first, one), (second, two) = generate("crm", ["predict"]), generate("crm", ["predict"])
    path = tmp_path / "keys.yaml"
    path.write_text(one.line())
    written = path.stat()
    monkeypatch.setattr("churn_serving.security.os.fstat", lambda _: written)  # a clock too coarse for two writes
    now = written.st_ctime + age
    keys = Keys(path, clock=lambda: now)
    path.write_text(two.line())
    assert keys.refresh(now) == is_noticed
    assert isinstance(keys.check(bearer(second), None, "predict"), Caller) == is_noticed
    assert isinstance(keys.check(bearer(first), None, "predict"), Denied) == is_noticed


@pytest.mark.parametrize("content", [None, "", "- {name: a}", "- ["])
def test_a_broken_file_keeps_the_keys_is_reported_once_and_then_replaced(tmp_path, crm, ops, caplog, content):
    caplog.set_level(logging.INFO)
    path = tmp_path / "keys.yaml"
    keys = keys_of(path, crm[1])
    path.unlink()
    if content is not None:
        path.write_text(content)
    for minutes in range(5):
        assert not keys.refresh(LATER + 60 * minutes)
        assert keys.check(bearer(crm[0]), None, "predict").name == "crm"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "stay valid" in caplog.text
    path.write_text(ops[1].line())
    assert keys.refresh(LATER)
    assert caplog.records[-1].getMessage().endswith(": ops")
    assert not re.search("churn_[A-Za-z0-9_-]{43}|[0-9a-f]{64}", caplog.text)


def test_a_file_that_goes_comes_back_and_goes_is_reported_each_time(tmp_path, crm, caplog):
    (tmp_path / "v1").write_text(crm[1].line())
    path = tmp_path / "keys.yaml"
    path.symlink_to("v1")
    keys = Keys(path, clock=lambda: LATER)
    for times in (1, 2):
        assert not keys.refresh(LATER)
        path.unlink()
        for _ in range(2):
            assert not keys.refresh(LATER)
            assert len(caplog.records) == times
        path.symlink_to("v1")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1.2.3", "127.255.255.255", "::1", "[::1]", "localhost", "LOCALHOST"]
)
def test_this_machine_only(host):
    assert is_loopback(host)
    refuse_open_listen(host, has_keys=False, allow_anonymous=False)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "", "10.0.0.1", "128.0.0.1", "example.org", "localhost.b", "127.1", "[::]", "::2"],  # noqa: S104 - refused
)
def test_everything_else_is_a_network_and_needs_keys_or_a_word(host):
    assert not is_loopback(host)
    refuse_open_listen(host, has_keys=True, allow_anonymous=False)
    refuse_open_listen(host, has_keys=False, allow_anonymous=True)
    with pytest.raises(OpenListenError, match=r"key file.*127\.0\.0\.1.*anonymous"):
        refuse_open_listen(host, has_keys=False, allow_anonymous=False)


@given(st.text())
def test_no_host_raises(host):
    assert is_loopback(host) in {True, False}

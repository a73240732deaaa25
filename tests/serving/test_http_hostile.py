"""Hostile bytes: bodies of any size and speed, ids of any characters, JSON of any shape; never a 5xx."""

import json
import math
import time

import pytest
from http_world import DAY, World, answer, head, people, post, refused
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

ODD_IDS = (
    "a/b",
    "a//b",
    "/a",
    "a/",
    "..",
    "../../etc/passwd",
    "ünïcødé ☃",
    "a:b",
    'quo"te',
    "new\nline",
    " ",
    "a%20b",
    "a?b#c",
    "a\x00b",
    "'; DROP TABLE users; --",
    "x" * 256,
)


def features(values):
    """The body of a request with these features."""
    return json.dumps({"user_id": "a", "features": values}).encode()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model and a snapshot in which users have odd ids."""
    world = World(tmp_path_factory.mktemp("hostile"))
    world.serve_new(1)
    world.publish({user_id: people(4)["u001"] for user_id in ODD_IDS})
    return world


@pytest.fixture(scope="module")
def http(world):
    with world.client(max_body_bytes=1_000_000) as client:
        yield client


@pytest.fixture(scope="module")
def server(world):
    """A server process that takes small bodies, and these quickly."""
    with world.server(max_body_bytes=4096, request_timeout_seconds=0.3) as server:
        yield server


def in_path(user_id):
    """An id in a path, every byte of it encoded: clients put dots and slashes in order."""
    return "/users/" + "".join(f"%{byte:02X}" for byte in user_id.encode())


# --- sizes and times, as a plain connection sees them


def test_a_body_declared_too_large_is_refused_before_it_is_sent(server):
    with server.connect() as connection:
        connection.sendall(head(10**12))
        status, _, problem = answer(connection)
    assert status == 413
    assert "4,096" in problem["detail"]


CHUNK = b"400\r\n" + b" " * 1024 + b"\r\n"


@pytest.mark.parametrize(
    "parts",
    [[head(None), *[CHUNK] * 5], [head(None) + CHUNK * 5], [head(None) + CHUNK * 5 + b"0\r\n\r\n"]],
    ids=["growing", "at once, unfinished", "at once, whole"],
)
def test_a_body_in_chunks_that_grows_too_large_is_refused(server, parts):
    with server.connect() as connection:
        for part in parts:
            connection.sendall(part)
        status, _, _ = answer(connection)
    assert status == 413


def test_a_body_of_the_largest_size_is_taken(server):
    body = b'{"user_id":"a/b"}'.ljust(4096)
    assert server.http.post("/predict", content=body).status_code == 200
    refused(server.http.post("/predict", content=body + b" "), 413)


def test_a_body_in_chunks_is_as_good_as_another(server):
    reply = server.http.post("/predict", content=iter([b'{"user_id"', b':"a/', b'b"}']))
    assert reply.status_code == 200


@pytest.mark.parametrize("sent", [b"", b'{"user_id"'])
def test_a_body_that_does_not_come_in_time_is_given_up(server, sent):
    started = time.monotonic()
    with server.connect() as connection:
        connection.sendall(head(100) + sent)
        status, _, problem = answer(connection)
    assert status == 408
    assert "0.3 seconds" in problem["detail"]
    assert 0.25 < time.monotonic() - started < 3


def test_clients_that_hang_up_in_the_middle_harm_nobody(server):
    for _ in range(20):
        with server.connect() as connection:
            connection.sendall(head(100) + b'{"user_id"')
    assert server.http.post("/predict", json={"user_id": "a/b"}).status_code == 200
    assert not [line for line in server.errors() if line["level"] == "error"]


@pytest.mark.parametrize(
    "request_line",
    [b"GET /x y HTTP/1.1", b"NONSENSE", b"OPTIONS * HTTP/1.1", b"CONNECT churn:80 HTTP/1.1", b"\x16\x03\x01"],
)
def test_what_is_hardly_http_is_refused(server, request_line):
    with server.connect() as connection:
        connection.sendall(request_line + b"\r\nHost: churn\r\nConnection: close\r\n\r\n")
        first = connection.makefile("rb").readline()
    assert not first.startswith(b"HTTP/1.1 5"), first
    assert server.http.get("/live").status_code == 200
    assert not [line for line in server.errors() if line["level"] == "error"]


# --- ids in paths


@pytest.mark.parametrize("user_id", ODD_IDS)
def test_odd_ids_are_found_in_paths_and_bodies(http, user_id):
    by_body = http.post("/predict", json={"user_id": user_id})
    assert by_body.status_code == 200
    assert by_body.json()["as_of_date"] == DAY.isoformat()
    by_path = http.get(in_path(user_id))
    assert by_path.status_code == 200, by_path.text
    assert by_path.json()["prediction"]["user_id"] == user_id
    assert by_path.json()["prediction"]["churn_risk"] == by_body.json()["churn_risk"]


@pytest.mark.parametrize("user_id", ODD_IDS)
def test_odd_ids_are_found_over_a_real_connection_too(server, user_id):
    found = server.http.get(in_path(user_id))
    assert found.status_code == 200, found.text
    assert found.json()["prediction"]["user_id"] == user_id


STRANGERS = (
    "nobody",
    "' OR 1=1 --",
    "../../../etc/passwd",
    "/etc/passwd",
    "{{7*7}}",
    "<script>",
    "%00",
    "\x00",
    "☃",
    "\r\n",
)


@pytest.mark.parametrize("user_id", STRANGERS)
def test_unknown_ids_are_not_found_whatever_they_look_like(http, user_id):
    problem = refused(http.post("/predict", json={"user_id": user_id}), 404)
    assert user_id not in problem["detail"]
    problem = refused(http.get(in_path(user_id)), 404)
    assert user_id not in problem["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("%ff", 400),
        ("%c3%28", 400),
        ("%ed%a0%80", 400),
        ("%zz", 404),
        ("%", 404),
        ("x" * 257, 422),
        ("x" * 10_000, 422),
    ],
)
def test_a_path_that_holds_no_id_is_refused(http, server, path, status):
    refused(http.get(f"/users/{path}"), status)
    refused(server.fresh("GET", f"/users/{path}"), status)


def test_the_path_without_an_id_is_not_found(http):
    assert http.get("/users/").status_code in {404, 422}


# --- bodies that are meant to take long

SLOW = {
    "many keys, one of them twice": features({f"k{number}": 1 for number in range(12_000)})[:-2] + b',"k0":1}}',
    "unknown features": features({f"active_days_{number}d": 1 for number in range(100_000)}),
    "unknown fields": json.dumps({"user_id": "a", **{f"user_{number}": 1 for number in range(100_000)}}).encode(),
    "a very long name": features({"x" * 900_000: 1}),
    "a very long number": b'{"user_id":' + b"9" * 900_000 + b"}",
}


@pytest.mark.parametrize("body", SLOW.values(), ids=SLOW)
def test_a_hostile_body_does_not_hold_up_the_others(world, body):
    with world.client() as http:
        started = time.perf_counter()
        refused(post(http, body), 400 if body.endswith(b"99}") else 422)
        assert time.perf_counter() - started < 5


# --- anything at all

NAMES = st.sampled_from(["user_id", "snapshot_date", "features", "trend", "plan", "is_paid", "instances", "x", "a:b"])
VALUES = st.recursive(
    st.sampled_from(
        ["a/b", "a:b", "", "pro", "2026-01-05", 0, 1, -1, 7, 8, 0.5, 1e15, 10**30, None, True, math.nan, math.inf]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=6,
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "user_id": st.sampled_from(["a/b", "a:b", 5]) | VALUES,
        "snapshot_date": st.sampled_from(["2026-01-05", None]) | VALUES,
        "features": st.dictionaries(st.sampled_from(["trend", "plan", "is_paid"]), VALUES, max_size=3) | VALUES,
    },
)


def pieces(draw, content):
    """JSON of `content` in which characters are escaped and keys repeated at will."""
    if isinstance(content, dict):
        pairs = list(content.items())
        if pairs and draw(st.integers(0, 7)) == 0:
            pairs.append(draw(st.sampled_from(pairs)))
        return "{" + ",".join(f"{pieces(draw, name)}:{pieces(draw, value)}" for name, value in pairs) + "}"
    if isinstance(content, list):
        return "[" + ",".join(pieces(draw, value) for value in content) + "]"
    text = json.dumps(content)
    return text.replace(":", "\\u003a") if draw(st.booleans()) else text


@given(content=ROWS | VALUES, data=st.data())
@example_settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_answered_and_the_same_in_a_batch(http, content, data):
    body = pieces(data.draw, content).encode()
    alone = post(http, body)
    assert alone.status_code in {200, 404, 422}, alone.text
    together = post(http, b'{"instances":[' + body + b',{"user_id":"a:b"}]}', "/predict/batch")
    assert together.status_code == 200, together.text
    first, second = together.json()["predictions"]
    assert second["user_id"] == "a:b"
    found = alone.json()
    for answered in (first, found):
        answered.pop("features_age_seconds", None)
    assert first.get("error", first) == found
    if alone.status_code == 200:
        assert not has_repeated_keys(body)


def has_repeated_keys(body):
    repeated = []
    json.loads(body, object_pairs_hook=lambda pairs: repeated.append(len(dict(pairs)) < len(pairs)) or dict(pairs))
    return any(repeated)


@given(cut=st.integers(0, 60), new=st.binary(max_size=3))
@example_settings(max_examples=100)
def test_any_bytes_are_answered(http, cut, new):
    whole = b'{"user_id":"a:b","features":{"trend":1.5,"plan":"pro"}}'
    for path in ("/predict", "/predict/batch"):
        assert post(http, whole[:cut] + new + whole[cut + len(new) :], path).status_code in {200, 400, 404, 422}
        assert post(http, whole[:cut] + new, path).status_code in {200, 400, 404, 422}

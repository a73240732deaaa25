"""Requests that are wrong: each refused with its status, the field, what came and what is allowed; never with a 5xx."""

import json

import pytest
from http_world import World, people, post, refused


@pytest.fixture(scope="module")
def http(tmp_path_factory):
    """A client of a service with a model and a snapshot."""
    world = World(tmp_path_factory.mktemp("bad_input"))
    world.serve_new(1)
    world.publish(people(4))
    with world.client(max_body_bytes=1_000_000) as client:
        yield client


def features(text):
    return b'{"user_id":"a","features":' + text.encode() + b"}"


# --- bodies that are no JSON

MALFORMED = {
    "empty": b"",
    "blank": b" \n ",
    "truncated": b'{"user_id": "a"',
    "truncated in a text": b'{"user_id": "a',
    "followed by more": b'{"user_id": "a"} {}',
    "with a comma too many": b'{"user_id": "a",}',
    "single quotes": b"{'user_id': 'a'}",
    "a form": b"user_id=a",
    "a raw line break in a text": b'{"user_id": "a\nb"}',
    "not UTF-8": b'{"user_id": "\xff\xfe"}',
    "UTF-16": '{"user_id": "a"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"user_id": "a"}',
    "half a surrogate pair as id": b'{"user_id": "\\ud800"}',
    "half a surrogate pair as a category": features('{"plan": "\\udfff"}'),
    "half a surrogate pair as a name": features('{"\\ud800": 1}'),
    "lists nested deeply": b"[" * 100_000,
    "lists nested deeply and closed": b"[" * 100_000 + b"]" * 100_000,
    "objects nested deeply": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "features nested deeply": features("[" * 100_000),
    "a pickle": b"\x80\x04\x95\x1c\x00\x00\x00",
}


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_body_that_is_no_json_is_refused(http, path, body):
    detail = refused(post(http, body, path), 400)["detail"]
    assert "JSON" in detail


def test_the_place_of_the_mistake_is_told(http):
    detail = refused(post(http, b'{"user_id": "a",\n "features": {"trend": x}}'), 400)["detail"]
    assert "line 2" in detail


# --- fields that are wrong: the body, what names the field, what came, what is allowed

WRONG_FIELDS = {
    "an empty object": (b"{}", "user_id", "required"),
    "a list": (b"[]", "body", "object"),
    "a text": (b'"a"', "body", "object"),
    "null": (b"null", "body", "object"),
    "a number": (b"7", "body", "object"),
    "no id": (b'{"features":{"trend":1}}', "user_id", "required"),
    "an id that is null": (b'{"user_id":null}', "user_id", "null", "text or a whole number"),
    "an id that is true": (b'{"user_id":true}', "user_id", "true", "text or a whole number"),
    "an id that is a fraction": (b'{"user_id":1.5}', "user_id", "1.5", "text or a whole number"),
    "an id that is a list": (b'{"user_id":["a"]}', "user_id", "list", "text or a whole number"),
    "an empty id": (b'{"user_id":""}', "user_id", "empty"),
    "an id of 257 characters": (b'{"user_id":"' + b"x" * 257 + b'"}', "user_id", "257", "256"),
    "an id of 10,000 characters": (b'{"user_id":"' + b"x" * 10_000 + b'"}', "user_id", "10000", "256"),
    "an id beyond 64 bits": (b'{"user_id":9223372036854775808}', "user_id", "64 bits"),
    "an id of 4,000 digits": (b'{"user_id":' + b"9" * 4000 + b"}", "user_id", "64 bits"),
    "an unknown field": (b'{"user_id":"a","usr":1}', "usr", "not known", "user_id"),
    "a feature outside of features": (b'{"user_id":"a","trend":1}', "trend", "not known", "features"),
    "a date that there is not": (b'{"user_id":"a","snapshot_date":"2026-02-30"}', "snapshot_date", "02-30", "YYYY"),
    "a date that is a time": (b'{"user_id":"a","snapshot_date":"2026-01-05T00:00:00Z"}', "snapshot_date", "YYYY"),
    "a date that is a number": (b'{"user_id":"a","snapshot_date":20260105}', "snapshot_date", "20260105", "YYYY"),
    "no features": (features("{}"), "features", "empty"),
    "features that are a list": (features("[1]"), "features", "object"),
    "features that are a text": (features('"trend"'), "features", "object"),
    "a number as text": (features('{"trend":"3"}'), "features.trend", '"3"', "text", "number"),
    "a number that is true": (features('{"trend":true}'), "features.trend", "true", "number"),
    "a number that is a list": (features('{"trend":[1]}'), "features.trend", "list", "number"),
    "a number that is an object": (features('{"trend":{"a":1}}'), "features.trend", "object", "number"),
    "a negative count": (features('{"active_days_7d":-1}'), "features.active_days_7d", "-1", "below 0"),
    "just below": (features('{"active_days_7d":-1e-300}'), "features.active_days_7d", "below 0"),
    "a count above its bound": (features('{"active_days_7d":8}'), "features.active_days_7d", "8", "above 7"),
    "far too large": (features('{"minutes_30d":1e16}'), "features.minutes_30d", "1e16", "above"),
    "far too small": (features('{"trend":-1e300}'), "features.trend", "below"),
    "an integer of 100 digits": (
        features('{"minutes_30d":' + "9" * 100 + "}"),
        "features.minutes_30d",
        "large",
        "above",
    ),
    "not a number": (features('{"trend":NaN}'), "features.trend", "finite"),
    "infinity": (features('{"trend":Infinity}'), "features.trend", "finite"),
    "minus infinity": (features('{"trend":-Infinity}'), "features.trend", "finite"),
    "1e999": (features('{"trend":1e999}'), "features.trend", "finite"),
    "a flag of two": (features('{"is_paid":2}'), "features.is_paid", "2", "0, 1, true, false"),
    "a flag of a half": (features('{"is_paid":0.5}'), "features.is_paid", "0.5", "0, 1, true, false"),
    "a flag as text": (features('{"is_paid":"yes"}'), "features.is_paid", '"yes"', "0, 1, true, false"),
    "a flag that is not a number": (features('{"is_paid":NaN}'), "features.is_paid", "finite"),
    "a category as a number": (features('{"plan":1}'), "features.plan", "1", "text"),
    "a category that is true": (features('{"plan":true}'), "features.plan", "true", "text"),
    "a category of 257 characters": (features('{"plan":"' + "x" * 257 + '"}'), "features.plan", "257", "256"),
    "an unknown feature": (features('{"active_day_7d":1}'), "features.active_day_7d", "did you mean `active_days_7d`"),
    "an unknown feature like none": (features('{"zzz":1}'), "features.zzz", "not known", "/model"),
    "an unknown feature beside known ones": (features('{"trend":1,"pln":"pro"}'), "features.pln", "`plan`"),
    "a feature that is path-like": (features('{"../trend":1}'), "features.../trend", "`trend`"),
    "the id twice": (b'{"user_id":"a","user_id":"b"}', "user_id", "more than once"),
    "the features twice": (
        b'{"user_id":"a","features":{"trend":1},"features":{"trend":2}}',
        "features",
        "more than once",
    ),
    "a feature twice": (features('{"trend":1,"trend":1}'), "features.trend", "more than once"),
    "the id twice, with a colon": (b'{"user_id":"a:b","user_id":"c:d"}', "user_id", "more than once"),
    "the id twice, with a colon that is escaped": (
        b'{"user_id":"x","user_id":"a\\u003ab"}',
        "user_id",
        "more than once",
    ),
    "a feature twice, the id with a colon that is escaped": (
        b'{"user_id":"a\\u003ab","features":{"trend":1,"trend":2}}',
        "features.trend",
        "more than once",
    ),
}


@pytest.mark.parametrize(("body", "field", "told"), [(b, f, t) for b, f, *t in WRONG_FIELDS.values()], ids=WRONG_FIELDS)
def test_a_wrong_field_is_named_with_what_came_and_what_is_allowed(http, body, field, told):
    problem = refused(post(http, body), 422)
    assert problem["detail"].startswith(f"{field}: ")
    assert problem["extra"][0]["key"] == field
    for words in told:
        assert words in problem["detail"]
    assert len(problem["detail"]) < 400


@pytest.mark.parametrize(("body", "field", "told"), [(b, f, t) for b, f, *t in WRONG_FIELDS.values()], ids=WRONG_FIELDS)
def test_a_wrong_row_of_a_batch_gets_the_very_error_of_a_single_request(http, body, field, told):  # noqa: ARG001
    good = b'{"user_id":"a","features":{"trend":1}}'
    for rows in (b",".join([good, body, good]), body):
        reply = post(http, b'{"instances":[' + rows + b"]}", "/predict/batch")
        assert reply.status_code == 200, reply.text
        found = reply.json()["predictions"]
        assert post(http, body).json() in [row.get("error") for row in found]
        assert all(row["churn_risk"] for row in found if "error" not in row)


@pytest.mark.parametrize("value", ["NaN", "Infinity"])
@pytest.mark.parametrize(
    "body", ['{"user_id":%s}', '{"user_id":"a","features":{"plan":%s}}', '{"user_id":"a","snapshot_date":%s}']
)
def test_what_is_not_finite_is_not_called_null(http, body, value):
    problem = refused(post(http, (body % value).encode()), 422)
    assert "null is" not in problem["detail"]


def test_every_wrong_field_is_listed_up_to_twenty(http):
    some = refused(post(http, features('{"trend":"x","active_days_7d":9,"plan":3}')), 422)
    assert {entry["key"] for entry in some["extra"]} == {"features.trend", "features.active_days_7d", "features.plan"}
    assert "2 more" in some["detail"]
    many = refused(post(http, features(json.dumps({f"x{number}": 1 for number in range(100)}))), 422)
    assert len(many["extra"]) == 20


BATCHES = {
    "an empty object": (b"{}", "instances"),
    "a list": (b"[]", "instances"),
    "null": (b"null", "instances"),
    "instances that are null": (b'{"instances":null}', "instances"),
    "instances that are an object": (b'{"instances":{"user_id":"a"}}', "instances"),
    "an unknown field": (b'{"instances":[],"explain":true}', "explain"),
    "a single request": (b'{"user_id":"a"}', "user_id"),
    "instances twice": (b'{"instances":[{"user_id":"u001"}],"instances":[{"user_id":"a:b"}]}', "instances"),
    "instances twice, the first empty": (b'{"instances":[],"instances":[{"user_id":"a:b"}]}', "instances"),
    "instances twice, both empty": (b'{"instances":[],"instances":[]}', "instances"),
    "instances twice, with a colon that is escaped": (
        b'{"instances":[],"instances":[{"user_id":"a\\u003ab"}]}',
        "instances",
    ),
}


@pytest.mark.parametrize(("body", "field"), BATCHES.values(), ids=BATCHES)
def test_what_is_no_batch_is_refused_whole(http, body, field):
    assert refused(post(http, body, "/predict/batch"), 422)["detail"].startswith(field)


# --- headers, queries, methods


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json", ""])
def test_another_content_type_is_refused(http, path, kind):
    reply = http.post(path, content=b'{"user_id":"u001"}', headers={"content-type": kind})
    assert "application/json" in refused(reply, 415)["detail"]


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("explain=maybe", "explain"),
        ("explain=", "explain"),
        ("explain", "explain"),
        ("explian=true", "explian"),
        ("explain=true&user_id=a", "user_id"),
        ("a=1", "a"),
        ("&".join(f"explain{number}=true" for number in range(50)), ""),
        ("%ff=1", ""),
    ],
)
def test_an_unknown_or_wrong_query_parameter_is_refused(http, path, query, key):
    body = b'{"user_id":"u001"}' if path == "/predict" else b'{"instances":[]}'
    problem = refused(post(http, body, f"{path}?{query}"), 422)
    assert problem["detail"].startswith(key)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_refused_with_the_one_that_is_allowed(http, path, method):
    reply = http.request(method, path)
    refused(reply, 405)
    assert "POST" in reply.headers["allow"]


@pytest.mark.parametrize("path", ["/nowhere", "/predict/x", "/live/x", "/.env", "/predict.json", "/users"])
def test_an_unknown_path_is_not_found(http, path):
    refused(http.get(path), 404)

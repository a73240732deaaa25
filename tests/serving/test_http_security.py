"""Who may ask the service what: API keys, their scopes, their rotation, and where it listens without any."""

import subprocess
import sys
from datetime import date

import pytest
from http_world import SECURITY_HEADERS, World, metric, people, until

from churn_serving.key_file import generate

PEOPLE = people(3)
BODY = {"user_id": "u001"}
OPEN = ("/live", "/ready", "/health", "/metrics")
READ = ("/", "/model", "/models", "/users/u001", "/reports", "/schema/openapi.json")
SCORING = (("/predict", BODY), ("/predict/batch", {"instances": [BODY]}))


@pytest.fixture(scope="module")
def keys():
    """A key of each scope, and one that has expired, with their entries."""
    made = {scope: generate(f"{scope}-key", [scope]) for scope in ("predict", "read", "admin")}
    return made | {"expired": generate("expired-key", ["admin"], date(2020, 1, 1))}


@pytest.fixture
def guarded(world, keys):
    """A service that asks for keys."""
    world.serve_new(1)
    world.publish(PEOPLE)
    world.keys = world.root / "keys.yaml"
    write(world.keys, *(entry for _, entry in keys.values()))
    with world.client(api_keys_file=world.keys) as world.http:
        yield world


@pytest.fixture(scope="module")
def server(tmp_path_factory, keys):
    """A server process that asks for keys."""
    world = World(tmp_path_factory.mktemp("security"))
    world.serve_new(1)
    world.publish(PEOPLE)
    path = world.root / "keys.yaml"
    write(path, *(entry for _, entry in keys.values()))
    with world.server("--api-keys", str(path)) as server:
        yield server


def write(path, *entries):
    path.write_text("".join(entry.line() for entry in entries))


def bearer(keys, name):
    return {"authorization": f"Bearer {keys[name][0]}"}


def statuses(http, headers, paths=READ):
    return {http.get(path, headers=headers).status_code for path in paths}


def scoring_statuses(http, headers):
    return {http.post(path, json=body, headers=headers).status_code for path, body in SCORING}


def run(world, *options):
    """Run a server that is not expected to start."""
    command = [sys.executable, "-m", "churn_serving", "--port", "0", *options]
    return subprocess.run(
        command, env=world.variables(), cwd=world.root, capture_output=True, text=True, timeout=30, check=False
    )


# --- keys


@pytest.mark.parametrize("path", OPEN)
def test_probes_and_metrics_need_no_key(guarded, path):
    assert guarded.http.get(path).status_code == 200


def test_everything_else_needs_a_key(guarded):
    assert statuses(guarded.http, {}, (*READ, "/drift", "/nowhere", "/users/nobody")) == {401}
    assert scoring_statuses(guarded.http, {}) == {401}


def test_a_refusal_says_how_a_key_is_sent(guarded):
    reply = guarded.http.post("/predict", json=BODY)
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert "X-API-Key" in reply.json()["detail"]
    assert {name: reply.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS


def test_a_scope_opens_its_routes_and_no_others(guarded, keys):
    http = guarded.http
    assert (scoring_statuses(http, bearer(keys, "predict")), statuses(http, bearer(keys, "predict"))) == ({200}, {403})
    assert (scoring_statuses(http, bearer(keys, "read")), statuses(http, bearer(keys, "read"))) == ({403}, {200})
    assert (scoring_statuses(http, bearer(keys, "admin")), statuses(http, bearer(keys, "admin"))) == ({200}, {200})
    assert scoring_statuses(http, {"x-api-key": keys["predict"][0]}) == {200}
    refusal = http.post("/predict", json=BODY, headers=bearer(keys, "read"))
    assert "predict" in refusal.json()["detail"]
    assert "insufficient_scope" in refusal.headers["www-authenticate"]


def raw(server, request_line, key="", body=b""):
    """The answer to a request whose target is sent as it is."""
    lines = [request_line, "Host: churn", f"X-API-Key: {key}", f"Content-Length: {len(body)}", "Connection: close"]
    with server.connect() as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return connection.makefile("rb").read()


SPELLINGS = (
    "/predict/",
    "/predict/batch/",
    "//predict",
    "//predict/batch",
    "/predict//batch",
    "/./predict",
    "/users/../predict",
    "/%70redict",
    "/%2Fpredict",
    "/Predict",
    "http://churn/predict",
    "http://churn//predict",
)


@pytest.mark.parametrize("target", SPELLINGS)
def test_another_spelling_of_a_path_opens_no_other_door(server, keys, target):
    body = b'{"instances":[{"user_id":"u001"}]}' if "batch" in target else b'{"user_id":"u001"}'
    for key, refusals in ((keys["read"][0], {403, 404, 405}), ("", {401})):
        reply = raw(server, f"POST {target} HTTP/1.1", key, body)
        assert b"churn_risk" not in reply
        assert int(reply.split()[1]) in refusals


@pytest.mark.parametrize("target", ["//model", "//users/u001", "/predict/../model", "/model/", "http://churn/model"])
def test_another_spelling_does_not_let_a_scoring_key_read(server, keys, target):
    assert int(raw(server, f"GET {target} HTTP/1.1", keys["predict"][0]).split()[1]) in {403, 404}


@pytest.mark.parametrize("target", ["OPTIONS *", "GET http://churn", "GET //", "GET /?x=/live", "GET /live/../model"])
def test_odd_targets_do_not_get_past_the_keys_and_are_no_fault_of_ours(server, target):
    before = len([line for line in server.errors() if line["level"] == "error"])
    assert int(raw(server, f"{target} HTTP/1.1").split()[1]) in {400, 401, 404}
    assert len([line for line in server.errors() if line["level"] == "error"]) == before


def test_a_key_that_is_wrong_is_refused_and_not_repeated(guarded, keys):
    right = keys["admin"][0]
    for wrong in (right[:-1], right + "x", right.swapcase(), "churn_" + "A" * 43, "", "x" * 5000, "admin-key"):
        for headers in (
            {"authorization": f"Bearer {wrong}"},
            {"x-api-key": wrong},
            {"authorization": f"Basic {wrong}"},
        ):
            reply = guarded.http.post("/predict", json=BODY, headers=headers)
            assert reply.status_code == 401
            assert not wrong or wrong not in reply.text


def test_a_key_that_has_expired_is_refused(guarded, keys):
    assert scoring_statuses(guarded.http, bearer(keys, "expired")) == {401}


def test_two_headers_that_disagree_are_refused(guarded, keys):
    headers = bearer(keys, "admin") | {"x-api-key": keys["predict"][0]}
    assert scoring_statuses(guarded.http, headers) == {401}


def test_a_key_is_refused_before_its_body_is_read(guarded, keys):
    reply = guarded.http.post("/predict", content=b"{", headers=bearer(keys, "read"))
    assert reply.status_code == 403


def test_keys_are_rotated_without_a_restart(guarded, keys):
    http, new = guarded.http, generate("new-key", ["predict"])
    write(guarded.keys, keys["predict"][1], new[1])
    until(lambda: scoring_statuses(http, {"x-api-key": new[0]}) == {200})
    assert scoring_statuses(http, bearer(keys, "predict")) == {200}
    assert scoring_statuses(http, bearer(keys, "admin")) == {401}
    write(guarded.keys, new[1])
    until(lambda: scoring_statuses(http, bearer(keys, "predict")) == {401})
    assert scoring_statuses(http, {"x-api-key": new[0]}) == {200}


@pytest.mark.parametrize("content", ["", "- {name: x}", "{", None])
def test_a_key_file_that_breaks_while_serving_changes_nothing(guarded, keys, caplog, content):
    if content is None:
        guarded.keys.unlink()
    else:
        guarded.keys.write_text(content)
    until(lambda: [record for record in caplog.records if record.name == "churn_serving.security"])
    assert scoring_statuses(guarded.http, bearer(keys, "predict")) == {200}
    assert scoring_statuses(guarded.http, {}) == {401}


def test_the_access_log_names_the_key_and_never_shows_it(server, keys):
    for name in ("predict", "read"):
        server.http.post("/predict", json=BODY, headers=bearer(keys, name) | {"x-request-id": f"with-{name}"})
    lines = until(lambda: (found := accessed(server, "with-")).keys() >= {"with-predict", "with-read"} and found)
    assert (lines["with-predict"]["key"], lines["with-predict"]["status"]) == ("predict-key", 200)
    assert lines["with-read"]["status"] == 403
    told = server.stdout.read_text() + server.stderr.read_text()
    assert not any(key in told for key, _ in keys.values())


def accessed(server, prefix):
    """The lines of the access log by request id."""
    return {line["request_id"]: line for line in server.accesses() if line["request_id"].startswith(prefix)}


def test_refused_requests_are_counted_and_logged_by_their_route(server, keys):
    server.http.post("/predict", json=BODY, headers={"x-request-id": "refused-1"})
    server.http.post("/predict", json=BODY, headers=bearer(keys, "read") | {"x-request-id": "refused-2"})
    lines = until(lambda: (found := accessed(server, "refused-")).keys() >= {"refused-1", "refused-2"} and found)
    assert {line["path"] for line in lines.values()} == {"/predict"}
    assert metric(server.http.get("/metrics").text, "churn_api_requests_total", path="/predict", status=401) >= 1


# --- where it listens


def test_it_does_not_listen_to_a_network_without_keys(world):
    done = run(world, "--host", "0.0.0.0")  # noqa: S104 - which is refused
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "0.0.0.0" in done.stderr  # noqa: S104
    assert done.stdout == ""


def test_it_listens_anonymously_where_that_is_allowed(world):
    world.serve_new(1)
    with world.server("--allow-anonymous") as server:
        assert server.http.get("/model").status_code == 200


BROKEN_KEYS = {
    "missing": None,
    "empty": "",
    "no list": "name: x",
    "no YAML": "- {name: [",
    "a key instead of its digest": "- {name: x, scopes: [admin], sha256: churn_" + "s" * 43 + "}",
    "an unknown scope": "- {name: x, scopes: [root], sha256: " + "ab" * 32 + "}",
}


@pytest.mark.parametrize("content", BROKEN_KEYS.values(), ids=BROKEN_KEYS)
def test_a_broken_key_file_at_the_start_is_one_line_and_exit_code_1(world, content):
    path = world.root / "keys.yaml"
    if content is not None:
        path.write_text(content)
    done = run(world, "--api-keys", str(path))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "keys.yaml" in done.stderr
    assert "ssss" not in done.stderr

"""What an operator sees of the service: probes, headers, logs, overload, and how it stops."""

import json
import re
import signal
import subprocess
import sys

import pytest
from http_world import BROWSER_HEADERS, SECURITY_HEADERS, World, answer, bits, head, metric, people, real_today, until

from churn_serving.app import create_app
from churn_serving.logs.prediction_log import read_log
from churn_serving.prediction import Predictor
from churn_serving.registry import Registry

PEOPLE = people(6)
BODY = {"user_id": "u001"}
JSON_TYPE = {"content-type": "application/json"}


@pytest.fixture
def served(world):
    """A model and a snapshot; the last user has left."""
    world.version = world.serve_new(1)
    world.publish(PEOPLE, left=["u005"])
    return world


@pytest.fixture
def http(served):
    with served.client(max_body_bytes=2048) as client:
        yield client


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A client for tests that count nothing and break nothing."""
    world = World(tmp_path_factory.mktemp("shared"))
    world.serve_new(1)
    world.publish(PEOPLE)
    with world.client(max_body_bytes=2048) as client:
        yield client


# --- probes


def test_live_answers(http):
    reply = http.get("/live")
    assert (reply.status_code, reply.json()) == (200, {"status": "live"})


@pytest.mark.parametrize("path", ["/ready", "/health"])
def test_ready_names_the_model(served, http, path):
    reply = http.get(path)
    assert reply.status_code == 200
    found = reply.json()
    assert (found["status"], found["model_version"], found["degraded"]) == ("ready", served.version, [])
    assert found["model"].endswith(f"{served.version}.joblib")


def test_the_model_tells_its_features_and_how_it_came_to_serve(served, http):
    found = http.get("/model").json()
    assert (found["version"], found["promoted_because"], found["promoted_by"]) == (
        served.version,
        "it is better",
        "tests",
    )
    assert [feature["name"] for feature in found["features"]] == list(PEOPLE["u000"])
    assert found["workers"][0]["model_version"] == served.version
    assert found["workers"][0]["features_as_of"] == "2026-01-05"


def test_the_registry_is_listed_newest_first(served, http):
    newer = served.register(2)
    found = until(lambda: len((found := http.get("/models").json())["models"]) == 2 and found)
    assert found["production"] == served.version
    assert [model["version"] for model in found["models"]] == [newer, served.version]


def test_metrics_count_requests_and_scores_by_route(served, http):
    http.post("/predict", json=BODY)
    http.post("/predict", json={"user_id": "u005"})
    http.post("/predict/batch", json={"instances": [BODY, BODY, {"user_id": "nobody"}]})
    http.get("/users/u001")
    http.get("/secret-path/u001")
    http.request("BREW", "/predict")
    text = http.get("/metrics").text
    assert metric(text, "churn_api_requests_total", method="POST", path="/predict", status=200) == 2
    assert metric(text, "churn_api_requests_total", method="POST", path="/predict/batch", status=200) == 1
    assert metric(text, "churn_api_requests_total", path="/users/{user_id}", status=200) == 1
    assert metric(text, "churn_api_requests_total", path="unmatched", status=404) == 1
    assert metric(text, "churn_api_requests_total", method="OTHER", status=405) == 1
    assert metric(text, "churn_api_predictions_total") == 3
    assert metric(text, "churn_prediction_risk_count") == 3
    assert metric(text, "churn_api_request_latency_seconds_count", path="/predict", method="POST") == 2
    assert metric(text, "churn_model_info", version=served.version, type="hist_gradient_boosting") == 1
    assert metric(text, "churn_model_loaded_timestamp_seconds") > 1e9
    assert metric(text, "churn_features_users") == len(PEOPLE)
    assert 0 <= metric(text, "churn_features_age_seconds") < 86_400
    assert metric(text, "churn_storage_free_bytes", storage="data") > 0
    for word in ("u001", "secret-path", "BREW"):
        assert word not in text


def test_the_risks_of_a_batch_are_counted_as_those_of_single_requests(served):
    texts = []
    for is_batch in (False, True):
        with served.client() as http:
            rows = [{"user_id": user_id, "features": values} for user_id, values in PEOPLE.items()]
            for instances in [rows] if is_batch else [[row] for row in rows]:
                if is_batch:
                    http.post("/predict/batch", json={"instances": instances})
                else:
                    http.post("/predict", json=instances[0])
            lines = http.get("/metrics").text.splitlines()
            texts.append([line for line in lines if line.startswith("churn_prediction_risk_bucket")])
    assert texts[0] == texts[1]


# --- request ids and headers


@pytest.mark.parametrize("given", ["a", "3f2b-77", "trace:1/2=+@_.", "x" * 128])
@pytest.mark.parametrize("path", ["/live", "/predict", "/nowhere"])
def test_a_sane_request_id_is_passed_through(shared, given, path):
    assert shared.get(path, headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [b"", b"x" * 129, b"two words", b'"quoted"', b"<b>", b"\xfc", b"a;b", b"{}"])
def test_any_other_request_id_is_replaced_by_one_of_ours(shared, given):
    replies = [shared.get("/live", headers={b"x-request-id": given}) for _ in range(2)]
    found = [reply.headers["x-request-id"] for reply in replies]
    assert len(set(found)) == 2
    assert all(re.fullmatch(r"[0-9a-f-]{10,40}", one) for one in found)


REQUESTS = {
    "index": ("GET", "/", {}, 200),
    "live": ("GET", "/live", {}, 200),
    "ready": ("GET", "/ready", {}, 200),
    "metrics": ("GET", "/metrics", {}, 200),
    "model": ("GET", "/model", {}, 200),
    "models": ("GET", "/models", {}, 200),
    "reports": ("GET", "/reports", {}, 200),
    "user": ("GET", "/users/u001", {}, 200),
    "document": ("GET", "/schema/openapi.json", {}, 200),
    "predict": ("POST", "/predict", {"json": BODY}, 200),
    "batch": ("POST", "/predict/batch", {"json": {"instances": [BODY]}}, 200),
    "malformed": ("POST", "/predict", {"content": b"{", "headers": JSON_TYPE}, 400),
    "bad path": ("GET", "/users/%ff", {}, 400),
    "unknown path": ("GET", "/nowhere", {}, 404),
    "unknown user": ("GET", "/users/nobody", {}, 404),
    "no drift report": ("GET", "/drift", {}, 404),
    "no such report": ("GET", "/reports/x.html", {}, 404),
    "wrong method": ("GET", "/predict", {}, 405),
    "wrong method elsewhere": ("POST", "/live", {}, 405),
    "too large": ("POST", "/predict", {"content": b" " * 4096, "headers": JSON_TYPE}, 413),
    "wrong type": ("POST", "/predict", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
    "wrong field": ("POST", "/predict", {"json": {}}, 422),
}


@pytest.mark.parametrize(("method", "path", "more", "status"), REQUESTS.values(), ids=REQUESTS)
def test_every_answer_carries_security_headers_and_a_request_id(shared, method, path, more, status):
    reply = shared.request(method, path, **more)
    assert reply.status_code == status, reply.text
    expected = SECURITY_HEADERS if path.startswith("/predict") else BROWSER_HEADERS
    assert {name: reply.headers.get(name) for name in expected} == expected
    if expected is BROWSER_HEADERS:
        assert "default-src" in reply.headers["content-security-policy"]
        assert len(reply.headers.get_list("content-security-policy")) == 1
    assert reply.headers["x-request-id"]
    assert len(reply.headers.get_list("x-request-id")) == 1
    if status >= 400:
        assert reply.headers["content-type"].startswith("application/json")
        assert reply.json()["status_code"] == status
        assert reply.json()["detail"]


def fail(*_, **__):
    raise RuntimeError("a secret from inside")


@pytest.mark.parametrize(
    ("broken", "request_"),
    [
        ((Predictor, "one"), ("POST", "/predict", BODY)),
        ((Predictor, "many"), ("POST", "/predict/batch", {"instances": [BODY]})),
        ((Predictor, "one"), ("GET", "/users/u001", None)),
        ((Registry, "versions"), ("GET", "/models", None)),
    ],
)
def test_a_fault_of_ours_is_a_500_that_tells_nothing_and_a_line_in_the_log(http, monkeypatch, caplog, broken, request_):
    method, path, body = request_
    monkeypatch.setattr(*broken, fail)
    reply = http.request(method, path, json=body, headers={"x-request-id": "find-me"})
    assert reply.status_code == 500
    assert reply.json()["status_code"] == 500
    assert "secret" not in reply.text
    assert "Traceback" not in reply.text
    assert {name: reply.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert reply.headers["x-request-id"] == "find-me"
    told = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 1
    assert "find-me" in told[0].getMessage()
    assert "a secret from inside" in str(told[0].exc_info[1])
    assert metric(http.get("/metrics").text, "churn_api_requests_total", status=500) == 1


# --- logs


def test_no_log_holds_whom_or_what_it_was_about(served):
    headers = {"x-request-id": "asked-1", "x-api-key": "churn_" + "k" * 43, "authorization": "Bearer tttttttt"}
    values = {"trend": 3.14159, "plan": "platinum-plus"}
    with served.server() as server:
        server.http.post("/predict", json={"user_id": "ulrike", "features": values}, headers=headers)
        server.http.post("/predict", json={"user_id": "ulrike"}, headers=headers)
        server.http.post("/predict", json={"user_id": "ulrike", "features": {"ulrike": 3.14159}}, headers=headers)
        server.http.get("/users/ulrike?name=ulrike", headers=headers)
        server.http.get("/ulrike/platinum-plus", headers=headers)
        server.http.get("/reports/ulrike.html", headers=headers)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        lines = [line for line in server.accesses() if line["request_id"] == "asked-1"]
        told = server.stdout.read_text() + server.stderr.read_text()
        assert server.errors()  # all of them JSON
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("POST", "/predict", 200),
        ("POST", "/predict", 404),
        ("POST", "/predict", 422),
        ("GET", "/users/{user_id}", 404),
        ("GET", "unmatched", 404),
        ("GET", "/reports/{name}", 404),
    ]
    assert all(line["message"] == "request" and line["ms"] >= 0 and line["bytes"] > 0 for line in lines)
    for word in ("ulrike", "3.14159", "platinum", "kkkk", "tttt"):
        assert word not in told


def test_the_prediction_log_has_one_line_for_each_scored_row(served):
    with served.server(prediction_log="true", today=None) as server:
        known = [
            server.http.post("/predict", json=body, headers={"x-request-id": f"single-{number}"})
            for number, body in enumerate(
                [BODY, {"user_id": 7, "features": PEOPLE["u002"]}, {"user_id": "new\nline", "features": {"trend": 1}}]
            )
        ]
        ours = server.http.post("/predict", json=BODY)
        for body in ({"user_id": "u005"}, {"user_id": "nobody"}, {}):
            server.http.post("/predict", json=body, headers={"x-request-id": "not-scored"})
        rows = [
            BODY,
            {"user_id": "nobody"},
            {"user_id": "b", "features": {"trend": 1}},
            {"user_id": "u005"},
            {"user_id": "u002"},
        ]
        together = server.http.post("/predict/batch", json={"instances": rows}, headers={"x-request-id": "many"})
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    files = list(read_log(served.published.prediction_log, *real_today()))
    assert [(file.broken, file.is_cut_off) for file in files] == [([], False)]
    logged = {row.id: row for row in files[0].rows}
    answers = {reply.headers["x-request-id"]: reply.json() for reply in [*known, ours]}
    answers |= {
        f"many/{place}": found for place, found in enumerate(together.json()["predictions"]) if found.get("churn_risk")
    }
    assert len(files[0].rows) == len(logged) == 7
    assert logged.keys() == answers.keys()
    for row_id, row in logged.items():
        found = answers[row_id]
        assert (row.user_id, row.model_version) == (str(found["user_id"]), found["model_version"])
        assert bits(row.score) == bits(found["churn_risk"])
        assert row.as_of_date.isoformat() == found["as_of_date"]
        assert row.source == ("id" if "features_age_seconds" in found else "features")
    assert logged["many/0"].features == logged["single-0"].features != logged["many/4"].features


# --- overload and stopping


def test_more_requests_than_allowed_get_503_while_probes_are_answered(served):
    body = json.dumps(BODY).encode()
    with served.server(max_concurrency=2) as server:
        held = [server.connect() for _ in range(2)]
        for connection in held:
            connection.sendall(head(len(body)) + body[:-1])
        refusal = until(lambda: (reply := server.http.post("/predict", json=BODY)).status_code == 503 and reply)
        assert int(refusal.headers["retry-after"]) >= 1
        assert refusal.json()["status_code"] == 503
        assert SECURITY_HEADERS.items() <= dict(refusal.headers).items()
        text = server.http.get("/metrics").text
        assert metric(text, "churn_api_requests_total", method="POST", path="/predict", status=503) >= 1
        assert server.http.get("/model").status_code == 503
        assert server.http.get("/nowhere").status_code == 503
        for path in ("/live", "/ready", "/health", "/metrics"):
            assert server.http.get(path).status_code == 200
        for connection in held:
            connection.sendall(body[-1:])
            assert answer(connection)[0] == 200
            connection.close()
        until(lambda: server.http.post("/predict", json=BODY).status_code == 200)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_what_it_does_and_takes_nothing_new(served, number):
    body = json.dumps(BODY).encode()
    with served.server() as server, server.connect() as busy, server.connect() as idle:
        idle.sendall(b"GET /live HTTP/1.1\r\nHost: churn\r\n\r\n")
        assert answer(idle)[0] == 200
        busy.sendall(head(len(body), x_request_id="in-flight") + body[:10])
        until(lambda: metric(server.http.get("/metrics").text, "churn_api_requests_total", path="/metrics"))
        server.signal(number)
        until(server.is_refusing)
        assert server.process.poll() is None
        busy.sendall(body[10:])
        status, headers, found = answer(busy)
        assert (status, headers["x-request-id"], found["user_id"]) == (200, "in-flight", "u001")
        assert server.wait() == 0
        assert any(line["request_id"] == "in-flight" and line["status"] == 200 for line in server.accesses())
        assert [line for line in server.errors() if line["level"] in {"warning", "error"}] == []


def test_a_request_that_never_ends_does_not_hold_up_the_end(served):
    with served.server(shutdown_seconds=1, request_timeout_seconds=60) as server, server.connect() as stuck:
        stuck.sendall(head(100) + b"{")
        until(lambda: server.http.get("/live").status_code == 200)
        server.signal(signal.SIGTERM)
        assert server.wait(8) == 0


def test_a_taken_port_is_told_and_is_exit_code_1(served):
    with served.server() as server:
        command = [sys.executable, "-m", "churn_serving", "--port", str(server.port)]
        run = subprocess.run(
            command, env=served.variables(), cwd=served.root, capture_output=True, timeout=30, check=False
        )
    assert run.returncode == 1
    assert b"address already in use" in run.stderr.lower()
    assert b"Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CHURN_SERVING__WORKERS", "0"), ("CHURN_SERVING__PROT", "80"), ("CHURN_SERVING__PORT", "http")],
)
def test_a_wrong_setting_is_told_with_its_name_and_exit_code_1(served, variable, value):
    environment = served.variables() | {variable: value}
    command = [sys.executable, "-m", "churn_serving"]
    run = subprocess.run(
        command, env=environment, cwd=served.root, capture_output=True, text=True, timeout=30, check=False
    )
    assert run.returncode == 1
    assert variable.removeprefix("CHURN_").lower().replace("__", ".") in run.stderr
    assert "Traceback" not in run.stderr


def test_two_services_in_one_process_do_not_get_in_each_other_s_way(tmp_path):
    one, other = World(tmp_path / "one"), World(tmp_path / "other")
    one.version, other.version = one.serve_new(1), other.serve_new(2, "linear")
    with one.client() as first, other.client() as second:
        body = {"user_id": "a", "features": {"trend": 1}}
        assert first.post("/predict", json=body).json()["model_version"] == one.version
        assert second.post("/predict", json=body).json()["model_version"] == other.version
        assert metric(first.get("/metrics").text, "churn_api_predictions_total") == 1
    assert create_app(one.settings())

"""One user's page, the reports and the drift report."""

import json
from datetime import timedelta

import pytest
from http_world import DAY, SECURITY_HEADERS, World, bits, people, until

PEOPLE = people(6)
GONE = "u005"
LISTS = (
    (DAY - timedelta(days=2), {"u000": 0.9, "u001": 0.4}),
    (DAY - timedelta(days=1), {"u001": 0.8, "u000": 0.7, GONE: 0.1}),
    (DAY, {"u002": 0.9, "u001": 0.6, "u000": 0.5}),
)


@pytest.fixture
def served(world):
    """A model, a snapshot and three daily lists."""
    world.version = world.serve_new(1)
    world.publish(PEOPLE, left=[GONE])
    for day, risks in LISTS:
        world.publish_scores(day, risks, "earlier" if day < DAY else world.version)
    with world.client() as world.http:
        yield world


def user(http, user_id):
    reply = http.get(f"/users/{user_id}")
    assert reply.status_code == 200, reply.text
    return reply.json()


# --- users


def test_a_user_has_features_a_risk_with_reasons_a_rank_and_a_history(served):
    found = user(served.http, "u001")
    assert found["features"] == PEOPLE["u001"]
    assert found["at_risk"] is True
    assert bits(found["prediction"]["churn_risk"]) == bits(served.score(served.version, PEOPLE["u001"]))
    assert len(found["prediction"]["reasons"]) == 3
    assert (found["risk_rank"], found["of"]) == (2, 3)
    assert found["history"] == [
        {"as_of_date": str(LISTS[0][0]), "churn_risk": 0.4, "risk_rank": 2, "of": 2, "model_version": "earlier"},
        {"as_of_date": str(LISTS[1][0]), "churn_risk": 0.8, "risk_rank": 1, "of": 3, "model_version": "earlier"},
        {"as_of_date": str(DAY), "churn_risk": 0.6, "risk_rank": 2, "of": 3, "model_version": served.version},
    ]


def test_the_prediction_is_that_of_predict_with_reasons(served):
    expected = served.http.post("/predict?explain=true", json={"user_id": "u001"}).json()
    found = user(served.http, "u001")["prediction"]
    for answer in (expected, found):
        answer.pop("features_age_seconds")
    assert found == expected


def test_a_user_on_no_list_has_no_rank_and_no_history(served):
    found = user(served.http, "u003")
    assert (found["risk_rank"], found["of"], found["history"]) == (None, None, [])
    assert found["prediction"]["churn_risk"] is not None


def test_a_user_who_has_left_keeps_features_and_history_and_has_no_risk(served):
    found = user(served.http, GONE)
    assert found["at_risk"] is False
    assert found["prediction"]["churn_risk"] is None
    assert found["prediction"]["not_scored"]
    assert found["features"] == PEOPLE[GONE]
    assert [score["risk_rank"] for score in found["history"]] == [3]
    assert (found["risk_rank"], found["of"]) == (None, None)


def test_missing_features_are_null(served):
    missing = {user_id: [name for name in row if row[name] is None] for user_id, row in PEOPLE.items()}
    assert any(missing.values())
    for user_id, names in missing.items():
        assert [name for name, value in user(served.http, user_id)["features"].items() if value is None] == names


def test_an_unknown_user_is_not_found(served):
    assert served.http.get("/users/nobody").status_code == 404


def test_without_lists_there_is_no_history(world):
    world.serve_new(1)
    world.publish(PEOPLE)
    with world.client() as http:
        assert user(http, "u001")["history"] == []


def test_new_lists_are_taken_up_while_serving(served):
    served.publish_scores(DAY, {"u001": 0.95, "u000": 0.5}, served.version)
    found = until(lambda: (found := user(served.http, "u001"))["of"] == 2 and found)
    assert (found["risk_rank"], found["history"][-1]["churn_risk"]) == (1, 0.95)


def test_damaged_lists_take_nothing_away(served, caplog):
    before = user(served.http, "u001")["history"]
    (served.published.scores / "current.json").write_bytes(b"{")
    until(lambda: [record for record in caplog.records if "current.json" in record.getMessage()])
    assert user(served.http, "u001")["history"] == before


def test_another_method_is_refused(served):
    reply = served.http.delete("/users/u001")
    assert reply.status_code == 405
    assert "GET" in reply.headers["allow"]


# --- reports


@pytest.fixture
def reports(served):
    served.published.reports.mkdir(parents=True, exist_ok=True)
    return served.published.reports


def test_a_page_is_served_as_html_under_a_policy_that_lets_it_talk_to_nobody(served, reports):
    (reports / "model_card_x.html").write_text("<h1>Ünïcødé</h1>", encoding="utf-8")
    reply = served.http.get("/reports/model_card_x.html")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/html")
    assert reply.text == "<h1>Ünïcødé</h1>"
    policy = reply.headers["content-security-policy"]
    for rule in ("default-src 'none'", "connect-src 'none'"):
        assert rule in policy
    assert "*" not in policy
    assert "http" not in policy
    assert reply.headers["x-content-type-options"] == SECURITY_HEADERS["x-content-type-options"]
    assert len(reply.headers.get_list("content-security-policy")) == 1


def test_pages_are_listed_and_nothing_else(served, reports):
    for name in ("b_2026-01-02.html", "b_2026-01-01.html", "a.html", "notes.txt", ".hidden.html", "x.html.part"):
        (reports / name).write_text("x")
    (reports / "folder.html").mkdir()
    assert served.http.get("/reports").json() == ["b_2026-01-02.html", "b_2026-01-01.html", "a.html"]
    for name in ("notes.txt", ".hidden.html", "x.html.part"):
        assert served.http.get(f"/reports/{name}").status_code == 404


@pytest.fixture(scope="module")
def beside_secrets(tmp_path_factory):
    """A client of a service that has files which are no reports in and around their folder."""
    world = World(tmp_path_factory.mktemp("secrets"))
    reports = world.published.reports
    (reports / "sub").mkdir(parents=True)
    (reports / "folder.html").mkdir()
    for path in (reports.parent / "secret.html", reports / "sub" / "a.html"):
        path.write_text("secret")
    with world.client() as client:
        yield client


@pytest.mark.parametrize(
    "name",
    [
        "..%2F..%2Fsecret.html",
        "%2E%2E%2Fsecret.html",
        "%2E%2E/secret.html",
        "..%5Csecret.html",
        "%2Fetc%2Fpasswd",
        "a.html%00",
        "a.html%0A",
        "%ff.html",
        "sub/a.html",
        "folder.html",
        "x" * 300 + ".html",
        "%2E",
    ],
)
def test_nothing_outside_the_reports_is_served(beside_secrets, name):
    reply = beside_secrets.get(f"/reports/{name}")
    assert reply.status_code == 404
    assert "secret" not in reply.text


def test_a_missing_page_is_json_that_says_so(served):
    reply = served.http.get("/reports/none.html")
    assert reply.status_code == 404
    assert reply.headers["content-type"].startswith("application/json")
    assert "/reports" in reply.json()["detail"]


# --- drift


def test_there_is_no_drift_report_at_first(served):
    reply = served.http.get("/drift")
    assert reply.status_code == 404
    assert "churn drift" in reply.json()["detail"]


def test_the_newest_drift_report_is_served(served):
    served.published.drift.parent.mkdir(parents=True, exist_ok=True)
    report = {"status": "WARN", "psi_by_feature": {"trend": 0.13}, "score_psi": 0.02}
    served.published.drift.write_text(json.dumps(report))
    assert served.http.get("/drift").json() == report
    text = served.http.get("/metrics").text
    assert 'churn_drift_psi{feature="trend"} 0.13' in text
    assert "churn_drift_status 1.0" in text


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[1]", b'"text"', b'{"psi_by_feature": [1], "status": []}'])
def test_a_damaged_drift_report_breaks_nothing_else(served, content):
    served.published.drift.parent.mkdir(parents=True, exist_ok=True)
    served.published.drift.write_bytes(content)
    reply = served.http.get("/drift")
    assert reply.status_code in {200, 503}
    assert "Traceback" not in reply.text
    assert served.http.get("/metrics").status_code == 200
    assert served.http.get("/ready").status_code == 200

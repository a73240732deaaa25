"""`/predict`: right answers to right requests, by features and by id."""

from datetime import timedelta

import numpy as np
import pytest
from artifact_factory import FEATURES
from http_world import DAY, GONE, PEOPLE, TODAY, batch, bits, log_odds, predict, until


def known(values):
    return {name: value for name, value in values.items() if value is not None}


# --- by features


@pytest.mark.parametrize("user_id", list(PEOPLE))
def test_a_score_has_the_same_bits_by_features_by_id_and_in_a_batch(served, user_id):
    values = PEOPLE[user_id]
    expected = bits(served.score(served.version, values))
    by_features = {"user_id": user_id, "features": values}
    by_id = {"user_id": user_id}
    assert bits(predict(served.http, **by_features)["churn_risk"]) == expected
    answers = batch(served.http, [by_features, by_id] if user_id != GONE else [by_features])
    assert {bits(found["churn_risk"]) for found in answers} == {expected}
    if user_id != GONE:
        assert bits(predict(served.http, **by_id)["churn_risk"]) == expected


def test_an_answer_says_who_scored_what_and_as_of_when(served):
    found = predict(served.http, user_id="new", features=known(PEOPLE["u000"]))
    assert found["user_id"] == "new"
    assert found["model_version"] == served.version
    assert found["model_path"].endswith(f"{served.version}.joblib")
    assert found["as_of_date"] == TODAY.isoformat()
    assert found["risk_band"] == (
        "high" if found["churn_risk"] >= 0.6 else "medium" if found["churn_risk"] >= 0.3 else "low"
    )
    assert "reasons" not in found
    assert "features_age_seconds" not in found


def test_a_date_of_one_s_own_is_taken_with_features(served):
    assert (
        predict(served.http, user_id="a", snapshot_date="2025-12-24", features={"trend": 1})["as_of_date"]
        == "2025-12-24"
    )


def test_features_left_out_and_null_are_both_missing_are_named_and_imputed(served):
    values = {"active_days_7d": 3.0, "plan": "pro"}
    left_out = predict(served.http, user_id="a", features=values)
    as_null = predict(served.http, user_id="a", features=values | {"trend": None, "minutes_30d": None, "is_paid": None})
    assert left_out["missing_features"] == as_null["missing_features"] == ["minutes_30d", "is_paid", "trend"]
    assert bits(left_out["churn_risk"]) == bits(as_null["churn_risk"]) == bits(served.score(served.version, values))


def test_a_row_of_nulls_only_is_scored_with_everything_imputed(served):
    found = predict(served.http, user_id="a", features=dict.fromkeys(PEOPLE["u000"]))
    assert found["missing_features"] == [feature.name for feature in FEATURES]
    assert bits(found["churn_risk"]) == bits(served.score(served.version, {}))


def test_a_whole_row_misses_nothing(served):
    values = {"active_days_7d": 2, "minutes_30d": 10.5, "is_paid": 1, "plan": "team", "trend": -0.25}
    assert predict(served.http, user_id="a", features=values)["missing_features"] == []


@pytest.mark.parametrize("plan", ["enterprise", "", "a: b", 'quo"te', "line\nbreak", "Ünïcødé", "x" * 256])
def test_a_category_that_the_model_never_saw_is_scored_as_such_and_told(served, plan):
    found = predict(served.http, user_id="a", features={"plan": plan})
    assert found["unseen_categories"] == {"plan": plan}
    assert "plan" not in found["missing_features"]
    assert bits(found["churn_risk"]) == bits(served.score(served.version, {"plan": plan}))
    assert "unseen_categories" not in predict(served.http, user_id="a", features={"plan": "pro"})


@pytest.mark.parametrize(("flag", "number"), [(True, 1.0), (False, 0.0), (1, 1.0), (0, 0.0), (1.0, 1.0)])
def test_a_flag_may_be_a_truth_value_or_a_number(served, flag, number):
    found = predict(served.http, user_id="a", features={"is_paid": flag})
    assert bits(found["churn_risk"]) == bits(served.score(served.version, {"is_paid": number}))
    assert batch(served.http, [{"user_id": "a", "features": {"is_paid": flag}}]) == [found]


def test_whole_numbers_count_as_numbers(served):
    whole, real = ({"active_days_7d": 3, "minutes_30d": 120}, {"active_days_7d": 3.0, "minutes_30d": 120.0})
    assert predict(served.http, user_id="a", features=whole) == predict(served.http, user_id="a", features=real)


@pytest.mark.parametrize("null", ["features", "snapshot_date"])
def test_null_is_as_good_as_left_out(served, null):
    assert (
        predict(served.http, user_id="u001", **{null: None})["churn_risk"]
        == predict(served.http, user_id="u001")["churn_risk"]
    )


@pytest.mark.parametrize(
    "user_id", [0, -5, 2**63 - 1, -(2**63), "1" * 256, "Ünïcødé ☃", "a:b", 'q"uote', "new\nline", " ", "\\"]
)
def test_any_id_is_given_back_as_it_came(served, user_id):
    request = {"user_id": user_id, "features": {"trend": 1}}
    assert predict(served.http, **request)["user_id"] == user_id
    assert batch(served.http, [request])[0]["user_id"] == user_id


def test_escapes_in_json_change_nothing(served):
    body = b'{"user_id":"a\\u003ab","features":{"pl\\u0061n":"p\\u0072o","trend":1}}'
    found = served.http.post("/predict", content=body)
    assert found.status_code == 200, found.text
    assert found.json() == predict(served.http, user_id="a:b", features={"plan": "pro", "trend": 1})


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.churn+json", "Application/JSON"])
def test_json_may_be_declared_in_other_ways(served, kind):
    found = served.http.post("/predict", content=b'{"user_id":"u001"}', headers={"content-type": kind})
    assert found.status_code == 200


# --- reasons


@pytest.mark.parametrize("user_id", ["u000", "u001", "u009"])
def test_reasons_are_the_three_strongest_shares_of_the_log_odds(served, user_id):
    values = PEOPLE[user_id]
    scorer = served.scorer(served.version)
    shares = scorer.contributions(scorer.encode_row(values)[None])[0]
    for request in ({"features": values}, {}):
        found = predict(served.http, "?explain=true", user_id=user_id, **request)
        assert scorer.base + shares.sum() == pytest.approx(log_odds(found["churn_risk"]), abs=1e-9)
        strongest = np.sort(np.abs(shares[shares != 0]))[::-1][:3]
        assert [abs(reason["contribution"]) for reason in found["reasons"]] == pytest.approx(strongest.tolist())
        for reason in found["reasons"]:
            place = scorer.encoder.names.index(reason["feature"])
            assert reason["contribution"] == pytest.approx(float(shares[place]))
            assert reason["direction"] == ("raises" if reason["contribution"] > 0 else "lowers")
            assert reason["value"] == values[reason["feature"]]


def test_reasons_are_said_in_words(served):
    values = {"active_days_7d": 1.0, "minutes_30d": 100.0, "is_paid": 1.0, "plan": "enterprise", "trend": 0.5}
    texts = {
        reason["feature"]: reason["text"]
        for reason in predict(served.http, "?explain=true", user_id="a", features=values)["reasons"]
    }
    words = {
        "active_days_7d": "active days 7d: 1 (typical 4)",
        "minutes_30d": "minutes 30d: 100",
        "is_paid": "is paid: yes",
        "plan": "plan: enterprise (new to the model)",
        "trend": "trend: 0.5",
    }
    assert texts
    for name, text in texts.items():
        assert text.startswith(words[name])
        assert text.endswith((", raises the risk", ", lowers the risk"))


@pytest.mark.parametrize("query", ["", "?explain=false"])
def test_nobody_gets_reasons_who_did_not_ask(served, query):
    assert "reasons" not in predict(served.http, query, user_id="u001")


# --- by id


def test_a_user_is_scored_from_the_newest_snapshot(served):
    found = predict(served.http, user_id="u001")
    assert found["as_of_date"] == DAY.isoformat()
    assert 0 <= found["features_age_seconds"] < 86_400
    assert "warnings" not in found
    assert predict(served.http, user_id="u001", snapshot_date=DAY.isoformat())["churn_risk"] == found["churn_risk"]


def test_a_number_finds_the_user_whose_id_is_its_text(served):
    assert predict(served.http, user_id=7)["user_id"] == 7
    assert predict(served.http, user_id=7)["churn_risk"] == predict(served.http, user_id="7")["churn_risk"]


def test_missing_and_unseen_values_of_the_snapshot_are_told(served):
    for user_id, values in PEOPLE.items():
        if user_id != GONE:
            found = predict(served.http, user_id=user_id)
            assert found["missing_features"] == [name for name in values if values[name] is None]
            unseen = {"plan": values["plan"]} if values["plan"] == "enterprise" else None
            assert found.get("unseen_categories") == unseen
    assert any(values["plan"] == "enterprise" for values in PEOPLE.values())


def test_a_user_who_has_left_has_no_score_and_the_answer_says_why(served):
    found = predict(served.http, "?explain=true", user_id=GONE)
    assert (found["churn_risk"], found["risk_band"]) == (None, None)
    assert "30 days" in found["not_scored"]
    assert "reasons" not in found
    assert batch(served.http, [{"user_id": GONE}]) == [predict(served.http, user_id=GONE)]


@pytest.mark.parametrize("day", ["2026-01-04", "2026-01-06", "1970-01-01"])
def test_another_day_than_the_newest_is_not_found(served, day):
    answer = served.http.post("/predict", json={"user_id": "u001", "snapshot_date": day})
    assert answer.status_code == 404
    assert day in answer.json()["detail"]
    assert DAY.isoformat() in answer.json()["detail"]


def test_an_unknown_user_is_not_found(served):
    answer = served.http.post("/predict", json={"user_id": "nobody"})
    assert answer.status_code == 404
    assert "features" in answer.json()["detail"]
    assert "nobody" not in answer.json()["detail"]


def test_without_any_snapshot_ids_wait_and_features_are_scored(world):
    world.serve_new(1)
    with world.client() as http:
        answer = http.post("/predict", json={"user_id": "u001"})
        assert answer.status_code == 503
        assert "Retry-After" in answer.headers
        assert "features" in answer.json()["detail"]
        assert predict(http, user_id="u001", features={"trend": 1})["churn_risk"] > 0
        world.publish(PEOPLE)
        until(lambda: http.post("/predict", json={"user_id": "u001"}).status_code == 200)


def test_stale_features_carry_a_warning(world):
    world.serve_new(1)
    world.publish(PEOPLE)
    with world.client(today=DAY + timedelta(days=4)) as http:
        found = predict(http, user_id="u001")
        assert 3 * 86_400 <= found["features_age_seconds"] < 4 * 86_400
        assert "hours old" in found["warnings"][0]
        assert any("hours old" in problem for problem in http.get("/ready").json()["degraded"])
        assert "warnings" not in predict(http, user_id="u001", features={"trend": 1})
    with world.client(today=DAY + timedelta(days=4), features_max_age_hours=100) as http:
        assert "warnings" not in predict(http, user_id="u001")
        assert http.get("/ready").json()["degraded"] == []


def test_a_clock_that_goes_backwards_makes_no_negative_age(world):
    world.serve_new(1)
    world.publish(PEOPLE)
    with world.client(today=DAY - timedelta(days=30)) as http:
        assert predict(http, user_id="u001")["features_age_seconds"] == 0


def test_a_newer_snapshot_is_taken_up_while_serving(world):
    version = world.serve_new(1)
    world.publish(PEOPLE)
    with world.client(today=DAY + timedelta(days=2)) as http:
        before = predict(http, user_id="u001")
        newer = {user_id: values | {"active_days_7d": 0.0, "trend": -2.0} for user_id, values in PEOPLE.items()}
        world.publish(newer, DAY + timedelta(days=1))
        after = until(lambda: (new := predict(http, user_id="u001"))["as_of_date"] != before["as_of_date"] and new)
        assert after["as_of_date"] == (DAY + timedelta(days=1)).isoformat()
        assert bits(after["churn_risk"]) == bits(world.score(version, newer["u001"]))
        assert after["features_age_seconds"] == pytest.approx(before["features_age_seconds"] - 86_400, abs=60)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-20])


def overwrite(path):
    path.write_bytes(b"\x80\x04 something else entirely" * 100)


def remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [cut_off, overwrite, remove])
def test_a_damaged_snapshot_is_refused_and_the_old_one_goes_on(world, damage):
    world.serve_new(1)
    world.publish(PEOPLE)
    with world.client(today=DAY + timedelta(days=2)) as http:
        before = predict(http, user_id="u001")
        pointer = world.published.features / "current.json"
        kept = pointer.read_bytes()
        elsewhere = world.root / "elsewhere"
        world.publish(PEOPLE, DAY + timedelta(days=1), folder=elsewhere)
        entry = next(elsewhere.glob("*.keyed"))
        damage(entry)
        for path in (entry, elsewhere / "current.json"):
            if path.exists():
                path.rename(world.published.features / path.name)
        until(lambda: any(entry.name in problem for problem in http.get("/ready").json()["degraded"]))
        assert predict(http, user_id="u001")["churn_risk"] == before["churn_risk"]
        assert predict(http, user_id="u001")["as_of_date"] == before["as_of_date"]
        pointer.write_bytes(kept)
        until(lambda: http.get("/ready").json()["degraded"] == [])


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\x80\x04", b'{"published": [{"file": "../../../etc/passwd"}]}']
)
def test_a_damaged_pointer_is_refused_and_the_old_snapshot_goes_on(world, content):
    world.serve_new(1)
    world.publish(PEOPLE)
    with world.client() as http:
        (world.published.features / "current.json").write_bytes(content)
        until(lambda: http.get("/ready").json()["degraded"])
        assert predict(http, user_id="u001")["as_of_date"] == DAY.isoformat()

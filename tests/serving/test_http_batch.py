"""`/predict/batch`: each row answered as a request of its own would be, in order."""

import json

import pytest
from http_world import PEOPLE, batch, bits, people, predict


def test_a_batch_answers_in_order_and_as_single_requests_do(served):
    instances = []
    for user_id, values in PEOPLE.items():
        instances += [{"user_id": user_id, "features": values}, {"user_id": user_id}]
    instances = instances[::-1] + instances
    singles = [predict(served.http, **request) for request in instances]
    together = batch(served.http, instances)
    for found in (*singles, *together):
        found.pop("features_age_seconds", None)
    assert together == singles


WRONG = (
    {"user_id": "nobody"},
    {"user_id": "a", "features": {"trend": "high"}},
    {"user_id": "a", "features": {"active_days_7d": 8}},
    {"user_id": "a", "features": {}},
    {"user_id": "u001", "snapshot_date": "2020-01-01"},
    {"user_id": "u001", "snapshot_date": "yesterday"},
    {"user_id": "", "features": {"trend": 1}},
    {"features": {"trend": 1}},
    {"user_id": "a", "color": "red"},
    {},
    [],
    "u001",
    None,
    7,
)


def test_bad_rows_are_answered_as_requests_of_their_own_and_the_good_ones_are_scored(served):
    instances = []
    for wrong in WRONG:
        instances += [{"user_id": "u001"}, wrong]
    found = batch(served.http, instances)
    assert len(found) == len(instances)
    assert {row["churn_risk"] for row in found[::2]} == {predict(served.http, user_id="u001")["churn_risk"]}
    for wrong, row in zip(WRONG, found[1::2], strict=True):
        alone = served.http.post("/predict", content=json.dumps(wrong))
        assert row["error"] == alone.json()
        assert row["error"]["status_code"] == alone.status_code in {404, 422}
        if isinstance(wrong, dict) and wrong.get("user_id"):
            assert row["user_id"] == wrong["user_id"]


def test_a_batch_of_bad_rows_only_is_still_answered_row_by_row(served):
    found = batch(served.http, list(WRONG))
    assert [row["error"]["status_code"] for row in found][:2] == [404, 422]
    assert len(found) == len(WRONG)


def test_an_empty_batch_has_an_empty_answer(served):
    assert batch(served.http, []) == []


def test_a_batch_over_the_limit_is_refused_whole(world):
    world.serve_new(1)
    row = {"user_id": "a", "features": {"trend": 1}}
    with world.client(max_batch_rows=10) as http:
        assert len(batch(http, [row] * 10)) == 10
        for instances in ([row] * 11, [row] * 10 + [{}], [{}] * 11):
            answer = http.post("/predict/batch", json={"instances": instances})
            assert answer.status_code == 413
            assert "11" in answer.json()["detail"]
            assert "10" in answer.json()["detail"]


def test_a_batch_of_thousands_is_scored_with_the_same_bits(served):
    rows = list(people(2000, seed=11).items())
    found = batch(served.http, [{"user_id": user_id, "features": values} for user_id, values in rows])
    scorer = served.scorer(served.version)
    expected = [bits(scorer.score_row(scorer.encode_row(values))) for _, values in rows]
    assert [bits(answer["churn_risk"]) for answer in found] == expected


def test_a_batch_gives_each_row_the_reasons_that_it_has_on_its_own(served):
    requests = [{"user_id": user_id, "features": values} for user_id, values in PEOPLE.items()] * 2
    together = batch(served.http, requests, "?explain=true")
    for request, found in zip(requests, together, strict=True):
        alone = predict(served.http, "?explain=true", **request)
        assert [reason["feature"] for reason in found["reasons"]] == [reason["feature"] for reason in alone["reasons"]]
        assert [reason["contribution"] for reason in found["reasons"]] == pytest.approx(
            [reason["contribution"] for reason in alone["reasons"]], abs=1e-12
        )


def test_rows_with_and_without_nulls_and_gaps_say_what_they_lack(served):
    values = next(iter(PEOPLE.values()))
    gap = {name: value for name, value in values.items() if name != "trend"}
    null = values | {"trend": None}
    requests = [{"user_id": "a", "features": features} for features in (values, gap, null, gap | {"plan": None})]
    found = batch(served.http, requests)
    assert found == [predict(served.http, **request) for request in requests]
    assert [("trend" in row["missing_features"]) for row in found] == [False, True, True, True]
    assert "plan" in found[3]["missing_features"]


def test_a_feature_given_twice_is_found_beside_one_that_is_not_given(served):
    twice = b'{"user_id":"a","features":{"trend":1,"trend":1}}'
    body = b'{"instances":[{"user_id":"b","features":{"trend":1}},' + twice + b"]}"
    first, second = served.http.post("/predict/batch", content=body).json()["predictions"]
    assert first["churn_risk"] > 0
    assert "more than once" in json.dumps(second["error"])

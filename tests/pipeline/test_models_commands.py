"""The registry from the command line: which version serves, how another comes to, and what is told of it."""

import itertools
import json
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deployed import DAY

from churn_assets.model_report import age_in_words
from churn_assets.servers import ask_servers, seconds_until
from churn_serving.settings import ServingSettings

TAKE_UP = 5.0
"""Seconds after which a running service answers with the version that was rolled back to."""


def both(deployment):
    """The version that serves, and the other one that there is."""
    serving = deployment.registry.production().version
    return serving, next(s.version for s in deployment.registry.versions() if s.version != serving)


def test_promote_and_rollback_take_seconds_and_are_told(deployment):
    first, other = both(deployment)
    done = deployment.run("models", "promote", other, "--reason", "a trial", "--json").expect().json
    assert (done["production model"], done["before"]) == (other, first)
    assert "no service runs" in done["services"]
    back = deployment.run("models", "rollback", "--json").expect().json
    assert back["production model"] == first
    assert deployment.registry.production().version == first
    told = deployment.run("models", "history", "--json", "--verify").expect().json
    assert [(row["action"], row["version"]) for row in told[-2:]] == [("promoted", other), ("rolled back", first)]
    assert told[-2]["reason"] == "a trial"
    assert "@" in told[-1]["by"]
    listed = {row["version"]: row for row in deployment.run("models", "list", "--json").expect().json}
    assert listed[first][""] == "*"
    assert listed[first]["decided"].startswith("rolled back")
    assert listed[other]["why"] == "a trial"


def test_what_does_not_exist_is_named_and_changes_nothing(deployment):
    before = deployment.registry.history()
    for line in (("promote", "candidate_hgb_1"), ("rollback", "nonsense"), ("show", "../models"), ("verify", "no")):
        refused = deployment.run("models", *line).expect(1)
        assert deployment.registry.production().version in refused.err
        assert "Traceback" not in refused.err
    nothing = deployment.run("models", "rollback").expect(1)
    assert "no version served before this one" in nothing.err
    assert deployment.registry.history() == before


def drop_feature(deployment, name):
    """As if the source no longer gave a column."""
    path = deployment.layout.user_features.path(DAY)
    pq.write_table(pq.read_table(path).drop_columns([name]), path)


def test_a_version_that_cannot_score_today_is_refused_unless_one_insists_with_a_reason(deployment):
    serving, other = both(deployment)
    drop_feature(deployment, "watch_minutes_7d")
    refused = deployment.run("models", "promote", other).expect(1)
    assert "today's features lack watch_minutes_7d" in refused.err
    assert "--force --reason" in refused.err
    assert "needs a reason" in deployment.run("models", "promote", other, "--force").expect(1).err
    assert deployment.registry.production().version == serving
    deployment.run("models", "promote", other, "--force", "--reason", "better than nothing").expect()
    assert deployment.registry.production().promoted_because == "better than nothing"


def test_a_feature_that_changed_its_kind_is_refused(deployment):
    path = deployment.layout.user_features.path(DAY)
    table = pq.read_table(path)
    place = table.column_names.index("plan")
    pq.write_table(table.set_column(place, "plan", pa.array([1.0] * table.num_rows)), path)
    refused = deployment.run("models", "rollback", both(deployment)[1]).expect(1)
    assert "plan changed from number to text or back" in refused.err


def test_the_runbook_s_copy_works_and_shows_as_an_outside_change(deployment):
    _, other = both(deployment)
    shutil.copyfile(deployment.layout.models / f"{other}.joblib", deployment.registry.alias.path)
    last = deployment.run("models", "history", "--json").expect().json[-1]
    assert (last["action"], last["version"], last["by"]) == ("changed outside", other, "outside")
    assert deployment.run("status", "--json").json["production model"] == other


def test_verify_names_what_is_damaged(deployment):
    rows = deployment.run("models", "verify", "--json").expect().json
    assert [row["sound"] for row in rows] == [True, True]
    _, other = both(deployment)
    scorer = deployment.registry.root / other / "scorer.npz"
    content = bytearray(scorer.read_bytes())
    content[len(content) // 2] ^= 1
    scorer.write_bytes(content)
    damaged = {row["version"]: row for row in deployment.run("models", "verify", "--json").expect(1).json}
    assert "scorer.npz" in damaged[other]["problems"]
    refused = deployment.run("models", "promote", other).expect(1)
    assert "scorer.npz" in refused.err


def test_verify_names_an_alias_that_is_no_model(deployment):
    deployment.registry.alias.path.write_bytes(b"damaged")
    rows = deployment.run("models", "verify", "--json").expect(1).json
    assert [row["sound"] for row in rows] == [False, True, True]
    assert rows[0]["version"] == "production_latest"
    assert "is no registered model" in rows[0]["problems"]
    one = rows[1]["version"]
    assert len(deployment.run("models", "verify", one, "--json").expect().json) == 1


def test_a_damaged_production_model_is_the_first_thing_that_status_names(deployment):
    serving, _ = both(deployment)
    (deployment.registry.root / serving / "scorer.npz").unlink()
    shown = deployment.run("status", "--json").expect(3).json
    assert "the production model is damaged" in shown["do next"]
    assert "`churn models rollback`" in shown["do next"]


def test_a_changed_line_of_the_history_is_told(deployment):
    path = deployment.registry.root / "history.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"registry"', b'"regissry"', 1))
    told = deployment.run("models", "history", "--verify").expect(1)
    assert "line 1 of" in told.err
    assert "line 1 of the registry's history" in deployment.run("status").expect(3).out


def test_a_rollback_under_load_fails_no_request_and_is_answered_within_seconds(deployment):
    first, other = both(deployment)
    deployment.run("models", "promote", other).expect()
    user = deployment.daily_list()[0]["user_id"]
    with deployment.served() as url:
        port = url.rpartition(":")[2]
        stop, failed, seen = threading.Event(), [], []

        def ask():
            with httpx.Client(base_url=url, timeout=10) as http:
                for _ in itertools.takewhile(lambda _: not stop.wait(0.005), itertools.count()):
                    answer = http.post("/predict", json={"user_id": user})
                    if answer.status_code != httpx.codes.OK:
                        failed.append(answer.text)
                    seen.append((time.monotonic(), answer.json().get("model_version")))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        done = deployment.run("models", "rollback", "--json", CHURN_SERVING__PORT=port).expect().json
        listed = deployment.run("models", "list", "--json", CHURN_SERVING__PORT=port).expect().json
        stop.set()
        for thread in threads:
            thread.join(30)
    assert failed == []
    assert done["services"].startswith("1 of 1 serve it, after ")
    assert float(done["services"].split()[-2]) < TAKE_UP
    versions = [version for _, version in sorted(seen)]
    assert versions[0] == other
    assert versions[-1] == first
    assert {row["version"]: row["runs on"] for row in listed} == {first: url, other: ""}


def test_services_that_do_not_run_are_told_apart(unused_tcp_port):
    settings = ServingSettings(servers=[f"http://127.0.0.1:{unused_tcp_port}", "http://nowhere.invalid"])
    found = ask_servers(settings)
    assert [server.runs for server in found] == [False, False]
    assert seconds_until(settings, "candidate_1", 0.0) is None


@pytest.fixture
def unused_tcp_port():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_ages_are_told_in_words():
    now = datetime(2026, 11, 25, tzinfo=UTC)
    assert age_in_words(timedelta(hours=47)) == "47 h"
    assert age_in_words(now - datetime(2026, 11, 20, tzinfo=UTC)) == "5 d"


def test_what_was_intended_is_told_by_what_became_of_it(deployment):
    _, other = both(deployment)
    deployment.run("models", "promote", other).expect()
    lines = (deployment.registry.root / "history.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["action"] for line in lines[-2:]] == ["intended", "promoted"]
    assert "intended" not in {row["action"] for row in deployment.run("models", "history", "--json").json}
    assert msgspec.json.decode(lines[-1])["answers"] == len(lines) - 1

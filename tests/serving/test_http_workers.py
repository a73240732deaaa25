"""Several workers behind one port: they converge, count together, and survive each other's death."""

import os
import signal

import pytest
from http_world import World, bits, metric, people, until

WORKERS = 4
BODY = {"user_id": "a", "features": {"trend": -0.5, "plan": "pro"}}
PROPAGATION = 5.0
PEOPLE = people(3)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Four workers with the interval that they have by default."""
    world = World(tmp_path_factory.mktemp("workers"))
    world.versions = [world.serve_new(1), world.register(2)]
    world.publish(PEOPLE)
    with world.server("--workers", str(WORKERS), reload_seconds=1) as server:
        until(lambda: len(states(server)) == WORKERS, 30.0, "all workers")
        server.world = world
        yield server


def states(server):
    """What `/model` lists of the workers."""
    reply = server.fresh("GET", "/model")
    return reply.json()["workers"] if reply.status_code == 200 else []


def serving(server):
    """The versions that the workers serve."""
    return [state["model_version"] for state in states(server)]


def scrape(server):
    return server.fresh("GET", "/metrics").text


def scored(server):
    return metric(scrape(server), "churn_api_predictions_total") or 0


def ask(server, count):
    """Score so many times, each over a connection of its own; returns the versions and scores."""
    replies = [server.fresh("POST", "/predict", json=BODY) for _ in range(count)]
    assert {reply.status_code for reply in replies} == {200}
    return {(found["model_version"], bits(found["churn_risk"])) for found in (reply.json() for reply in replies)}


def test_any_worker_tells_of_all(server):
    for _ in range(8):
        found = states(server)
        assert len({state["pid"] for state in found}) == WORKERS
        assert server.process.pid not in {state["pid"] for state in found}
        assert {state["features_as_of"] for state in found} == {"2026-01-05"}
        assert {state["reload_problem"] for state in found} == {None}
        assert all(state["loaded_at"] for state in found)


def test_metrics_show_the_model_of_every_worker(server):
    pids = [state["pid"] for state in states(server)]
    text = scrape(server)
    for pid in pids:
        assert metric(text, "churn_model_info", pid=pid, type="hist_gradient_boosting") == 1
        assert metric(text, "churn_model_loaded_timestamp_seconds", pid=pid) > 1e9
        assert metric(text, "churn_model_reload_refused", pid=pid) == 0


def test_counters_are_those_of_all_workers(server):
    before = scored(server)
    ask(server, 40)
    for _ in range(5):
        assert scored(server) == before + 40


def test_all_workers_converge_on_a_promoted_model_and_on_a_rollback(server):
    world = server.world
    world.promote(world.versions[1])
    until(lambda: serving(server) == [world.versions[1]] * WORKERS, PROPAGATION, "the promotion everywhere")
    assert ask(server, 30) == {(world.versions[1], bits(world.score(world.versions[1], BODY["features"])))}
    world.registry.rollback(actor="tests")
    until(lambda: serving(server) == [world.versions[0]] * WORKERS, PROPAGATION, "the rollback everywhere")
    assert ask(server, 30) == {(world.versions[0], bits(world.score(world.versions[0], BODY["features"])))}


def test_a_killed_worker_is_replaced_the_others_serve_on_and_no_count_is_lost(server):
    ask(server, 20)
    counted = scored(server)
    requests = metric(scrape(server), "churn_api_requests_total", path="/predict", status=200)
    before = {state["pid"] for state in states(server)}
    victim = min(before)
    os.kill(victim, signal.SIGKILL)  # a worker of the server that this module has started
    answered = 0

    def is_whole_again():
        nonlocal answered
        ask(server, 1)
        answered += 1
        pids = {state["pid"] for state in states(server)}
        return len(pids) == WORKERS and victim not in pids

    until(is_whole_again, 30.0, "another worker")
    assert scored(server) == counted + answered
    assert metric(scrape(server), "churn_api_requests_total", path="/predict", status=200) == requests + answered
    assert metric(scrape(server), "churn_model_info", pid=victim) is None
    assert len({state["pid"] for state in states(server)} & before) == WORKERS - 1


def test_a_broken_model_is_refused_by_all_and_a_good_one_heals_all(server):
    world = server.world
    world.put(b"broken")
    until(lambda: all(state["reload_problem"] for state in states(server)), 10.0, "a refusal everywhere")
    assert {version for version, _ in ask(server, 20)} == {world.versions[0]}
    text = scrape(server)
    assert metric(text, "churn_model_reload_refused") == WORKERS
    assert metric(text, "churn_model_reload_failures_total") >= WORKERS
    world.promote(world.versions[1])
    until(lambda: serving(server) == [world.versions[1]] * WORKERS, PROPAGATION, "healing everywhere")
    until(lambda: {state["reload_problem"] for state in states(server)} == {None})


def test_sighup_reaches_all_and_sigterm_ends_all_and_leaves_nothing_behind(tmp_path):
    world = World(tmp_path / "world")
    first, second = world.serve_new(1), world.register(2)
    (scratch := tmp_path / "scratch").mkdir()
    with world.server(
        "--workers", str(WORKERS), reload_seconds=60, prediction_log="true", environment={"TMPDIR": str(scratch)}
    ) as server:
        until(lambda: serving(server) == [first] * WORKERS, 30.0, "all workers")
        pids = {state["pid"] for state in states(server)}
        world.promote(second)
        server.signal(signal.SIGHUP)
        until(lambda: serving(server) == [second] * WORKERS, PROPAGATION, "the promotion everywhere")
        assert {state["pid"] for state in states(server)} == pids
        ask(server, 20)
        assert len(list(scratch.iterdir())) == 1
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.is_refusing()
        assert list(scratch.iterdir()) == []
        assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}/cmdline")]  # noqa: PTH110
        assert [line for line in server.errors() if line["level"] in {"warning", "error"}] == []
    logged = list(world.published.prediction_log.glob("*.jsonl"))
    assert sum(len(path.read_text().splitlines()) for path in logged) == 20

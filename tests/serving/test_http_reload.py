"""The model is replaced while serving: promotions and rollbacks are followed, and what is broken changes nothing."""

import os
import pickle
import shutil
import signal
import subprocess
import threading
import time

import pytest
from http_world import World, bits, metric, people, until

from churn_serving.model_watch import ModelWatch

VALUES = {"active_days_7d": 2.0, "minutes_30d": 33.3, "is_paid": 1.0, "plan": "pro", "trend": -0.5}
BODY = {"user_id": "a", "features": VALUES}
PROPAGATION = 5.0
"""Seconds within which a promotion must be picked up."""


def serving(http):
    """The version that answers now, and its score."""
    reply = http.post("/predict", json=BODY)
    assert reply.status_code == 200, reply.text
    found = reply.json()
    return found["model_version"], bits(found["churn_risk"])


def until_serving(http, version, timeout=PROPAGATION):
    until(lambda: serving(http)[0] == version, timeout, f"serving {version}")


def degraded(http):
    """What `/ready` says is wrong; it must be ready."""
    reply = http.get("/ready")
    assert reply.status_code == 200, reply.text
    return [problem for problem in reply.json()["degraded"] if "current.json" not in problem]


def failures(http):
    return metric(http.get("/metrics").text, "churn_model_reload_failures_total")


# --- a server process, with the interval that it has by default


def test_promotions_and_rollbacks_are_followed_and_every_answer_is_of_one_model(world):
    first = world.serve_new(1)
    second = world.register(2, "linear")
    truth = {version: bits(world.score(version, VALUES)) for version in (first, second)}
    seen, stop = [], threading.Event()
    with world.server(reload_seconds=1) as server:

        def ask():
            while not stop.is_set():
                single = server.fresh("POST", "/predict", json=BODY).json()
                rows = server.fresh("POST", "/predict/batch", json={"instances": [BODY] * 50}).json()["predictions"]
                assert len({row["model_version"] for row in rows}) == 1
                seen.extend(
                    (found["model_version"], bits(found["churn_risk"])) for found in (single, rows[0], rows[-1])
                )

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            world.promote(second)
            until_serving(server.http, second)
            world.registry.rollback(actor="tests")
            until_serving(server.http, first)
        finally:
            stop.set()
            asking.join(10)
        subprocess.run(["cp", world.artifact(second), world.alias], check=True)
        until_serving(server.http, second)
        subprocess.run(["cp", world.artifact(first), world.alias], check=True)
        until_serving(server.http, first)
        assert degraded(server.http) == []
        assert [line for line in server.errors() if line["level"] in {"warning", "error"}] == []
    assert len(seen) > 10
    assert {version for version, _ in seen} == {first, second}
    assert set(seen) == set(truth.items())


def test_sighup_looks_at_once(world):
    first, second = world.serve_new(1), world.register(2)
    with world.server(reload_seconds=60) as server:
        assert serving(server.http)[0] == first
        world.promote(second)
        server.signal(signal.SIGHUP)
        until_serving(server.http, second)
        world.put(b"broken")
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGHUP)
        until(lambda: server.signal(signal.SIGHUP) or degraded(server.http))
        world.promote(first)
        server.signal(signal.SIGHUP)
        until_serving(server.http, first)


def test_a_broken_model_is_reported_once_and_the_last_good_one_goes_on(world):
    first = world.serve_new(1)
    with world.server(reload_seconds=0.05) as server:
        world.put(world.artifact(first).read_bytes()[:-5])
        until(lambda: degraded(server.http))
        deadline = time.monotonic() + 1.2  # time for another try
        while time.monotonic() < deadline:
            assert serving(server.http)[0] == first
        told = [line for line in server.errors() if line["level"] == "error"]
        assert len(told) == 1
        assert "production_latest.joblib" in told[0]["message"]
        assert server.process.poll() is None


# --- in this process, looking all the time


@pytest.fixture
def served(world):
    """Two models, of which the first serves."""
    world.first, world.second = world.serve_new(1), world.register(2)
    with world.client() as world.http:
        yield world


def corrupt(world):
    world.put(b"\x00" * 1000)


def truncate(world):
    world.put(world.artifact(world.second).read_bytes()[:-1])


def empty(world):
    world.put(b"")


def delete(world):
    world.alias.unlink()


def be_a_folder(world):
    world.alias.unlink()
    world.alias.mkdir()


def dangle(world):
    world.alias.unlink()
    world.alias.symlink_to("nowhere")


def loop(world):
    world.alias.unlink()
    world.alias.symlink_to(world.alias.name)


def name_a_model_without_scorer(world):
    folder = world.registry.root / world.second
    for path in folder.iterdir():
        if path.suffix == ".npz":
            path.unlink()
    world.put(world.artifact(world.second).read_bytes())


def name_a_model_with_a_damaged_scorer(world):
    path = next((world.registry.root / world.second).glob("*.npz"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    world.put(world.artifact(world.second).read_bytes())


def name_a_model_with_a_damaged_manifest(world):
    (world.registry.root / world.second / "manifest.json").write_bytes(b'{"version": 7')
    world.put(world.artifact(world.second).read_bytes())


def lose_the_registry(world):
    shutil.rmtree(world.registry.root)
    world.put(world.artifact(world.second).read_bytes())


def lose_all_artifacts(world):
    shutil.rmtree(world.paths.artifacts)


def have_a_file_for_a_folder(world):
    shutil.rmtree(world.paths.artifacts)
    world.paths.artifacts.write_bytes(b"")


DAMAGES = (
    corrupt,
    truncate,
    empty,
    delete,
    be_a_folder,
    dangle,
    loop,
    name_a_model_without_scorer,
    name_a_model_with_a_damaged_scorer,
    name_a_model_with_a_damaged_manifest,
    lose_the_registry,
    lose_all_artifacts,
    have_a_file_for_a_folder,
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_is_damaged_the_last_good_model_goes_on_and_ready_says_so(served, caplog, damage):
    before = serving(served.http)
    damage(served)
    problems = until(lambda: degraded(served.http))
    assert len(problems) == 1
    assert serving(served.http) == before
    assert [state["reload_problem"] for state in served.http.get("/model").json()["workers"]] == problems
    for path in ("/models", "/metrics", "/model", "/reports", "/health"):
        assert served.http.get(path).status_code == 200, path
    told = [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]
    assert len({record.getMessage() for record in told}) == len(told) == 1


@pytest.mark.parametrize(
    "damage", [corrupt, truncate, name_a_model_without_scorer, name_a_model_with_a_damaged_scorer, lose_the_registry]
)
def test_a_refused_model_is_counted_and_shown(served, damage):
    text = served.http.get("/metrics").text
    assert metric(text, "churn_model_reload_failures_total") == 0
    assert metric(text, "churn_model_reload_refused") == 0
    damage(served)
    until(lambda: degraded(served.http))
    text = served.http.get("/metrics").text
    assert metric(text, "churn_model_reload_failures_total") >= 1
    assert metric(text, "churn_model_reload_refused", pid=os.getpid()) == 1
    assert metric(text, "churn_model_info", version=served.first) == 1


@pytest.mark.parametrize("damage", [be_a_folder, loop, corrupt])
def test_a_lasting_problem_is_not_counted_with_every_look(served, damage):
    damage(served)
    until(lambda: degraded(served.http))
    before = failures(served.http)
    deadline = time.monotonic() + 0.6  # a dozen looks
    while time.monotonic() < deadline:
        served.http.get("/live")
    assert failures(served.http) - before <= 1


@pytest.mark.parametrize("damage", [corrupt, truncate, delete, be_a_folder, dangle])
def test_a_good_file_heals(served, damage):
    damage(served)
    until(lambda: degraded(served.http))
    if served.alias.is_dir():
        served.alias.rmdir()
    served.alias.unlink(missing_ok=True)
    served.put(served.artifact(served.second).read_bytes())
    until_serving(served.http, served.second)
    assert degraded(served.http) == []
    assert metric(served.http.get("/metrics").text, "churn_model_reload_refused") == 0


def test_artifacts_that_come_back_heal(served):
    served.paths.artifacts.rename(served.root / "away")
    until(lambda: degraded(served.http))
    (served.root / "away").rename(served.paths.artifacts)
    until(lambda: not degraded(served.http))
    served.promote(served.second)
    until_serving(served.http, served.second)


def test_a_model_that_was_refused_is_taken_up_once_its_files_are_repaired(served):
    path = next((served.registry.root / served.second).glob("*.npz"))
    path.rename(aside := served.root / "aside.npz")
    served.put(served.artifact(served.second).read_bytes())
    until(lambda: degraded(served.http))
    aside.rename(path)
    until_serving(served.http, served.second)


def test_a_twin_that_is_promoted_is_the_version_that_answers(served):
    """A retrain on the same data gives the same bytes: only the history tells which version they serve as."""
    twin = served.register(1, artifact=served.artifact(served.first).read_bytes())
    assert served.artifact(twin).read_bytes() == served.alias.read_bytes()
    served.promote(twin)
    until_serving(served.http, twin)
    assert degraded(served.http) == []
    served.registry.rollback(actor="tests")
    until_serving(served.http, served.first)


def test_a_twin_that_cannot_be_loaded_does_not_replace_the_one_that_serves(world):
    first = world.serve_new(1)
    twin = world.register(1, artifact=world.artifact(first).read_bytes())
    watch = ModelWatch(world.registry)
    assert watch.poll()
    world.promote(twin)
    path = next((world.registry.root / twin).glob("*.npz"))
    aside = path.rename(world.root / "aside.npz")
    for _ in range(3):
        assert not watch.poll()
    assert (watch.current.version, path.name in watch.problem) == (first, True)
    aside.rename(path)
    assert watch.poll(at_once=True)
    assert (watch.current.version, watch.problem) == (twin, None)


# --- cold starts


def test_without_a_model_it_is_alive_and_not_ready_until_one_is_promoted(world):
    with world.client() as http:
        assert http.get("/live").status_code == 200
        for reply in (
            http.get("/ready"),
            http.get("/health"),
            http.get("/model"),
            http.post("/predict", json=BODY),
            http.post("/predict/batch", json={"instances": [BODY]}),
            http.get("/users/a"),
        ):
            assert reply.status_code == 503
            assert "no production model yet" in reply.json()["detail"]
            assert "Retry-After" in reply.headers
        assert http.get("/models").json() == {"production": None, "models": []}
        assert http.get("/metrics").status_code == 200
        assert http.get("/schema/openapi.json").status_code == 200
        version = world.serve_new(1)
        until(lambda: http.get("/ready").status_code == 200)
        assert serving(http)[0] == version


@pytest.mark.parametrize("content", [b"", b"\x80\x04broken", b"joblib bytes of candidate"])
def test_a_corrupted_alias_at_the_start_is_503_with_the_reason_until_it_is_repaired(world, content):
    version = world.serve_new(1)
    world.put(content)
    with world.client() as http:
        reply = until(lambda: "truncated or foreign" in (reply := http.get("/ready")).text and reply)
        assert reply.status_code == 503
        assert http.get("/live").status_code == 200
        assert http.post("/predict", json=BODY).status_code == 503
        world.put(world.artifact(version).read_bytes())
        until(lambda: http.get("/ready").status_code == 200)
        assert serving(http)[0] == version


def test_an_unsigned_model_is_refused_where_models_must_be_signed(tmp_path, monkeypatch):
    unsigned = World(tmp_path / "unsigned")
    unsigned.serve_new(1)
    signed = World(tmp_path / "signed", "a secret of the operators")
    version = signed.serve_new(1)
    monkeypatch.setenv("CHURN_SIGNING_KEY", "a secret of the operators")
    with unsigned.client() as http:
        reply = until(lambda: "sign" in (reply := http.get("/ready")).text and reply)
        assert reply.status_code == 503
        assert "operators" not in reply.text
    with signed.client() as http:
        assert serving(http)[0] == version
        assert degraded(http) == []


def test_a_model_signed_with_another_key_does_not_replace_a_good_one(tmp_path, monkeypatch):
    world = World(tmp_path, "the right key")
    first = world.serve_new(1)
    forger = World(tmp_path, "another key")
    second = forger.register(2)
    monkeypatch.setenv("CHURN_SIGNING_KEY", "the right key")
    with world.client() as http:
        world.put(world.artifact(second).read_bytes())
        assert "sign" in until(lambda: degraded(http))[0]
        assert serving(http)[0] == first


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_joblib_file_is_never_unpickled_be_it_foreign_or_registered(served):
    harm = served.root / "harm"
    bomb = pickle.dumps(Bomb(harm))
    served.put(bomb)
    until(lambda: degraded(served.http))
    assert serving(served.http)[0] == served.first
    version = served.promote(served.register(3, artifact=bomb))
    until_serving(served.http, version)
    assert not harm.exists()
    pickle.loads(bomb).close()  # noqa: S301 - to see that it would have done it
    assert harm.exists()


def test_by_id_and_by_features_agree_while_model_and_snapshot_change(served):
    users = people(4)
    truth = set()
    snapshots = [users, {user_id: row | {"trend": 9.0, "active_days_7d": 0.0} for user_id, row in users.items()}]
    for version in (served.first, served.second):
        truth |= {(version, bits(served.score(version, snapshot["u001"]))) for snapshot in snapshots}
    seen = set()
    served.publish(users)
    until(lambda: served.http.post("/predict", json={"user_id": "u001"}).status_code == 200)
    for number in range(6):
        served.promote((served.second, served.first)[number % 2])
        served.publish(snapshots[number % 2])
        for _ in range(20):
            found = served.http.post("/predict", json={"user_id": "u001"}).json()
            seen.add((found["model_version"], bits(found["churn_risk"])))
        until_serving(served.http, (served.second, served.first)[number % 2])
    assert seen <= truth
    assert len({version for version, _ in seen}) == 2

"""API: what services answer, and the load that is on record."""

import contextlib
import socket
import threading
import time
from datetime import timedelta

import pytest
import uvicorn
from readiness_world import NOW, answers_of

from churn_assets.readiness import api
from churn_serving import atomic
from churn_serving.app import create_app
from churn_serving.settings import ServiceSettings, ServingSettings

ASKED = (api.live, api.ready, api.version, api.metrics)


@pytest.fixture
def running(place, serve):
    """A deployment whose service, a double, answers what it should."""
    service = serve(answers_of(place.serve(1)))
    place.configure(serving={"servers": [service.url]})
    return place, service


@contextlib.contextmanager
def real_service(place):
    """The project's own service, in a thread; gives its address."""
    paths = place.workspace.settings.paths
    app = create_app(ServiceSettings(paths=paths, serving=ServingSettings(prediction_log=False)))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        end = time.monotonic() + 20
        try:
            while not server.started:
                assert thread.is_alive()
                assert time.monotonic() < end
                thread.join(0.02)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
    assert not thread.is_alive()


def test_the_projects_own_service_passes_every_check(place):
    version = place.serve(1)
    with real_service(place) as url:
        place.configure(serving={"servers": [url]})
        found = {check.__name__: place.ask(check) for check in ASKED}
    assert {name for name, answer in found.items() if answer.outcome == "pass"} == {"live", "version", "metrics"}
    assert found["ready"].outcome == "warn"  # nothing was published that it could look users up in
    assert "ready, but" in found["ready"].found
    assert version in found["version"].found


@pytest.mark.parametrize("check", ASKED)
def test_a_service_in_order_passes(running, check):
    assert running[0].ask(check).outcome == "pass"


@pytest.mark.parametrize("check", ASKED)
def test_a_service_that_does_not_run_fails(running, check):
    place, service = running
    service.close()
    answer = place.ask(check)
    assert (answer.outcome, answer.fix) == ("fail", "churn serve")
    service.close = lambda: None


def test_a_service_without_a_model_is_not_ready(running):
    place, service = running
    service.answers |= answers_of("", status=503)
    answer = place.ask(api.ready)
    assert (answer.outcome, answer.fix) == ("fail", "churn models verify")
    assert "no model" in answer.found


def test_a_degraded_service_warns(running):
    place, service = running
    service.answers |= answers_of(place.registry.production().version, degraded=["the snapshot is old"])
    answer = place.ask(api.ready)
    assert answer.outcome == "warn"
    assert "the snapshot is old" in answer.found


def test_a_service_that_serves_another_version_fails(running):
    place, service = running
    service.answers |= answers_of("candidate_hgb_1")
    answer = place.ask(api.version)
    assert answer.outcome == "fail"
    assert "serves candidate_hgb_1" in answer.found


def test_every_service_is_asked(running, serve):
    place, first = running
    second = serve(answers_of("candidate_hgb_1"))
    place.configure(serving={"servers": [first.url, second.url]})
    assert second.url in place.ask(api.version).found
    assert "2 of 2" in place.ask(api.live).found


def test_something_else_on_the_port_exposes_no_metrics_of_ours(running):
    place, service = running
    service.answers["/metrics"] = (200, "python_info 1\n# churn_api_requests_total is spoken of\n")
    answer = place.ask(api.metrics)
    assert answer.outcome == "fail"
    assert "churn_api_requests_total" in answer.found


def record_load(place, rate, failed=0):
    content = {"at": (NOW - timedelta(days=2)).isoformat(), "requests_per_second": rate, "failed": failed}
    atomic.write_json(place.layout.artifacts / "upkeep" / "load.json", content)


@pytest.mark.parametrize(
    ("rate", "failed", "outcome"), [(100.0, 0, "pass"), (4000.0, 0, "pass"), (99.0, 0, "fail"), (4000.0, 1, "fail")]
)
def test_the_load_on_record_is_held_against_the_checklist(place, rate, failed, outcome):
    record_load(place, rate, failed)
    answer = place.ask(api.load)
    assert answer.outcome == outcome
    assert "2026-01-18" in answer.found


def test_the_benchmark_counts_where_the_deployment_was_not_tested_itself(checked_out):
    answer = checked_out.ask(api.load)
    assert answer.outcome == "pass"
    assert answer.found.startswith("8,500 requests a second")
    record_load(checked_out, 50.0)
    assert checked_out.ask(api.load).outcome == "fail"


def test_no_load_on_record_warns(place, checked_out):
    checked_out.source.remove("benchmarks/results/serving.json")
    assert checked_out.ask(api.load).outcome == "warn"
    place.source = None
    assert place.ask(api.load).fix.startswith("python examples/http/load.py USER_ID --record ")

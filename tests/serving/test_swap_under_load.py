"""Nothing is lost or mixed up while models are swapped under load."""

import pytest
from http_world import GONE, PEOPLE, metric
from swap_load import TAKE_UP, swap_under_load


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_fails_and_no_answer_is_of_another_model_than_it_says(world, workers):
    world.serve_new(1)
    world.publish(PEOPLE, left=[GONE])
    with world.server(workers=workers, reload_seconds=0.2) as server:
        outcome = swap_under_load(world, server, seconds=9.0, every=0.8, rate=100)
        failures = metric(server.fresh("GET", "/metrics").text, "churn_model_reload_failures_total")
        assert server.fresh("GET", "/ready").status_code == 200
    assert outcome.failed == []
    assert outcome.mismatched == []
    assert not outcome.is_unpickled
    assert outcome.requests > 300
    assert len(outcome.seen) == 3
    assert failures >= 2
    assert max(outcome.take_ups) < TAKE_UP

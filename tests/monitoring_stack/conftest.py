"""A scoring service under load, and what watches it."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "serving"))


@pytest.fixture(scope="session")
def watched(tmp_path_factory):
    """A service that has answered a script of requests, and the Prometheus that has scraped it. Tests only ask it."""
    from towers import Prometheus
    from watched_world import watched_service

    with (
        watched_service(tmp_path_factory.mktemp("watched")) as service,
        Prometheus(tmp_path_factory.mktemp("prometheus"), service.port) as prometheus,
    ):
        service.answer_until(lambda: prometheus.has("job:churn_api_predictions:rate5m > 0"))
        service.serve_another()
        service.answer_until(lambda: prometheus.has(f'churn_model_info{{version="{service.version}"}}'))
        prometheus.wait_for_rules()
        yield prometheus

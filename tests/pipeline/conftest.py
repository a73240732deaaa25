"""One seeded deployment that most tests look at or copy; what takes long starts at once and runs beside the rest."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from daemons import alarm
from deployed import Deployment
from interruptions import retrain_in_pieces, seed_in_pieces
from oulad_slice import is_there, seed_oulad

AHEAD = ("seeded_run", "pieces_run", "retrains_run", "oulad_run")
LANES = min(3, max(1, (os.cpu_count() or 1) - 1))


@pytest.fixture(scope="session")
def lanes():
    """Where children are driven in the background."""
    with ThreadPoolExecutor(max_workers=LANES) as pool:
        yield pool


@pytest.fixture(scope="session", autouse=True)
def _head_start(request):
    """Start what the chosen tests will wait for."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for name in AHEAD:
        if name in wanted:
            request.getfixturevalue(name)


@pytest.fixture(scope="session")
def seeded_run(lanes, tmp_path_factory):
    """`churn seed` on an empty folder, under way."""
    deployment = Deployment.fresh(tmp_path_factory.mktemp("seeded"))
    return lanes.submit(lambda: (deployment, deployment.run("seed", "--json")))


@pytest.fixture(scope="session")
def seeded(seeded_run):
    """A deployment after `churn seed`. Tests only look at it."""
    deployment, finished = seeded_run.result()
    finished.expect()
    return deployment


@pytest.fixture
def deployment(seeded, tmp_path):
    """A copy of the seeded deployment that a test may change."""
    return seeded.copied(tmp_path)


@pytest.fixture(scope="session")
def alerting(seeded, tmp_path_factory):
    """A deployment whose newest drift report alerts. Tests only copy it."""
    return alarm(seeded.copied(tmp_path_factory.mktemp("alerting")))


@pytest.fixture
def alarmed(alerting, tmp_path):
    """A copy of it that a test may change."""
    return alerting.copied(tmp_path)


@pytest.fixture(scope="session")
def pieces_run(lanes, tmp_path_factory):
    """The same seed, interrupted twice, under way."""
    deployment = Deployment.fresh(tmp_path_factory.mktemp("pieces"))
    return lanes.submit(seed_in_pieces, deployment)


@pytest.fixture(scope="session")
def retrains_run(lanes, seeded_run, tmp_path_factory):
    """Retrains that die, and two at once, under way."""
    folder = tmp_path_factory.mktemp("retrains")

    def when_seeded():
        deployment, finished = seeded_run.result()
        finished.expect()
        return retrain_in_pieces(deployment.copied(folder))

    return lanes.submit(when_seeded)


@pytest.fixture(scope="session")
def oulad_run(lanes, tmp_path_factory):
    """`churn seed` on a slice of OULAD, under way; None if the data set is not here."""
    return lanes.submit(seed_oulad, tmp_path_factory.mktemp("oulad")) if is_there() else None

"""Fixtures for tests of the readiness checks."""

import pytest
from readiness_world import Place, Service, SourceTree


@pytest.fixture
def place(tmp_path):
    """A deployment in which nothing has happened."""
    return Place(tmp_path / "place")


@pytest.fixture(scope="session")
def grown(tmp_path_factory):
    """A checkout in which everything is in order. Tests only copy it."""
    return SourceTree.grown(tmp_path_factory.mktemp("grown"))


@pytest.fixture
def source(grown, tmp_path):
    """Such a checkout that a test may spoil."""
    return grown.copied(tmp_path / "source")


@pytest.fixture
def checked_out(place, source):
    """A deployment that is run from that checkout."""
    place.source = source
    return place


@pytest.fixture
def serve():
    """Make a double of a service; all are closed at the end."""
    opened = []

    def start(answers):
        opened.append(Service(answers))
        return opened[-1]

    yield start
    for service in opened:
        service.close()

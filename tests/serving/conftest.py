"""Fixtures for tests of the service."""

import artifact_factory as make
import pytest
from http_world import GONE, PEOPLE, World


@pytest.fixture
def registry(tmp_path):
    """An empty registry."""
    return make.open_registry(tmp_path)


@pytest.fixture
def abc(registry):
    """Register three versions and promote them one after the other."""
    versions = tuple(make.register(registry, seed) for seed in range(3))
    for version in versions:
        registry.promote(version, actor="test", reason=f"because of {version}")
    return versions


@pytest.fixture
def world(tmp_path):
    """A deployment in which nothing is registered or published yet."""
    return World(tmp_path)


@pytest.fixture(scope="module", params=["trees", "linear"])
def served(request, tmp_path_factory):
    """A model of either kind with a snapshot, and a client of the service."""
    world = World(tmp_path_factory.mktemp(request.param))
    world.version = world.serve_new(1, request.param)
    world.publish(PEOPLE | {"7": PEOPLE["u007"]}, left=[GONE])
    with world.client() as world.http:
        yield world

"""A deployment to be cleaned, and versions that it may have."""

import pytest
from clean_world import World

VERSIONS = [("baseline", 1), ("candidate", 1), ("candidate", 2), ("baseline", 3), ("candidate", 4), ("baseline", 5)]


@pytest.fixture
def world(tmp_path):
    """A deployment of which nothing has been written."""
    return World(tmp_path)


@pytest.fixture
def versions(world):
    """Six versions; the first served before the second does."""
    found = [world.register(number, role) for role, number in VERSIONS]
    for version in found[:2]:
        world.promote(version)
    return found

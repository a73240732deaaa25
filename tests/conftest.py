"""Fixtures for all tests."""

import os

import pytest
from builders import EVENTS, USERS, Export
from hypothesis import settings

settings.register_profile("churn", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("churn")

for _name in [name for name in os.environ if name.startswith("CHURN_")]:
    del os.environ[_name]  # tests see the packaged defaults, whatever this shell has set


@pytest.fixture
def export(tmp_path):
    """An empty export."""
    return Export(tmp_path)


@pytest.fixture
def platform(export):
    """An export of three users and six events that keeps the contract."""
    export.users(*USERS)
    export.events(*EVENTS)
    return export

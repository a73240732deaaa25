"""Fixtures for all tests."""

import pytest
from builders import EVENTS, USERS, Export
from hypothesis import settings

settings.register_profile("churn", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("churn")


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch):
    """Tests see the packaged defaults, whatever this shell has set."""
    import os

    for name in [name for name in os.environ if name.startswith("CHURN_")]:
        monkeypatch.delenv(name)


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

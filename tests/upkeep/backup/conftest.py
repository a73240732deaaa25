"""A filled deployment, its vault, and an empty machine to bring it back on."""

import pytest
from backup_world import World


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Dagster's folder, without a database."""
    home = tmp_path / "dagster"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@pytest.fixture
def world(tmp_path, home):
    """A deployment with something of every kind."""
    del home  # that of this machine must not be looked at
    return World.at(tmp_path / "here").fill()


@pytest.fixture
def there(world, tmp_path):
    """Another machine, empty."""
    world.save()
    return world.elsewhere(tmp_path / "there")

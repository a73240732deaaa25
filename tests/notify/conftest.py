"""Receivers of notifications on this machine, and the deployments that tell them."""

import pytest
from receivers import Receiver

from churn_assets.settings import Settings
from churn_assets.workspace import Workspace


@pytest.fixture
def receive():
    """Make a receiver; all are closed at the end."""
    opened = []

    def make(**behaviour):
        opened.append(Receiver(**behaviour))
        return opened[-1]

    yield make
    for receiver in opened:
        receiver.close()


@pytest.fixture
def deployment(tmp_path):
    """Make a deployment that tells these URLs."""

    def make(*urls, today="2026-03-10", **notify):
        content = {
            "paths": {"data": tmp_path / "data", "artifacts": tmp_path / "artifacts"},
            "clock": {"today": today},
            "notify": {"urls": [str(url) for url in urls], "min_free_gb": 0, **notify},
        }
        return Workspace(Settings.model_validate(content))

    return make

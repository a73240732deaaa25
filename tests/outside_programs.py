"""Programs that tests use and that are no part of the project."""

import os
import shutil
from pathlib import Path

import pytest

APART = Path(__file__).resolve().parents[1] / ".venv-checks" / "bin"
"""Where `make checks-tools` puts them."""

ALL_ARE_HERE = os.environ.get("CHECKS_REQUIRED") == "1"


def lacking(reason):
    """Skip the test; where everything is said to be installed, fail it."""
    (pytest.fail if ALL_ARE_HERE else pytest.skip)(reason)


def checker(name):
    """The path of a program that judges the deployment's files; without it the test is skipped."""
    found = shutil.which(name, path=APART) or shutil.which(name)
    return found or lacking(f"{name} is not installed: make checks-tools")

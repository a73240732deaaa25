"""Every write of every asset and command is cut short by `kill -9` at each of its points; nothing is lost by it.

After each death every file is whole, `churn status` works, the service answers with a verified model, and the history
is sound. Then the same is run again: it completes, and leaves what it leaves when nothing happens to it.
"""

import os
import re
from collections import Counter

import pytest
import typer.main
from crash_points import (
    AFTER_RENAME,
    BEFORE_REMOVAL,
    BEFORE_RENAME,
    BEFORE_WRITE,
    HOLDING_LOCK,
    MID_APPEND,
    MID_WRITE,
)
from crash_scenarios import ASSETS, SCENARIOS

from churn_assets.automation.jobs import JOBS
from churn_assets.cli import app
from churn_assets.definitions import defs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked"),
]

LEAST_POINTS = 200
BUILDING = {"seed", "build", "retrain", "score", "drift", "demo-drift"}
"""Commands that run jobs: what these write is what assets write."""

LOOKING = {
    ("status", "--json"),
    ("notify-test", "--json"),
    ("models", "list", "--json"),
    ("models", "show", "VERSION", "--json"),
    ("models", "verify", "--json"),
}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_whoever_is_killed_leaves_whole_files_and_the_next_completes(scenario, killed):
    points, problems = killed[scenario.name]
    assert points
    assert not problems, f"{len(problems)} of {len(points)} points:\n" + "\n".join(problems)


def test_at_least_two_hundred_points_of_every_kind_were_died_at(killed):
    kinds = Counter(point.kind for points, _ in killed.values() for point in points)
    assert kinds.total() >= LEAST_POINTS
    every = {BEFORE_WRITE, MID_WRITE, BEFORE_RENAME, AFTER_RENAME, HOLDING_LOCK, BEFORE_REMOVAL, MID_APPEND}
    assert kinds.keys() == every


def test_the_alias_is_changed_between_an_intent_and_what_became_of_it(killed):
    """Of all moments these are the ones at which files and history say different things."""
    for name in ("the first production_model", "production_model", "models promote", "models rollback"):
        said = [(point.kind, point.subject) for point in killed[name][0]]
        alias, history = "artifacts/models/production_latest.joblib", "artifacts/registry/history.jsonl"
        assert {(kind, alias) for kind in (BEFORE_WRITE, MID_WRITE, BEFORE_RENAME, AFTER_RENAME)} <= set(said)
        after = said.index((AFTER_RENAME, alias))
        assert said[after - 1] == (BEFORE_RENAME, alias)
        assert said[after + 1] == (BEFORE_WRITE, history)


def test_every_asset_is_interrupted():
    assert {name for scenario in SCENARIOS for name in scenario.assets} == ASSETS.keys()
    jobs = {key.to_user_string() for job in JOBS for key in defs.resolve_job_def(job.name).asset_layer.executable_asset_keys}
    assert jobs <= ASSETS.keys()


def test_every_command_that_writes_is_interrupted():
    interrupted = {name for scenario in SCENARIOS for name in scenario.commands}
    looking = {" ".join(word for word in words if re.fullmatch(r"[a-z-]+", word)).split(" --")[0] for words in LOOKING}
    assert set(commands(typer.main.get_command(app))) == interrupted | looking | BUILDING


def commands(group, *above):
    """Every command by its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *above, name)
        else:
            yield " ".join([*above, name])

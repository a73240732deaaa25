"""Every write of every asset and command is cut short by `kill -9` at each of its points; nothing is lost by it.

After each death every file is whole, `churn status` works, the service answers with a verified model, and the history
is sound. Then the same is run again: it completes, and leaves what it leaves when nothing happens to it.
"""

import os
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
from crash_scenarios import ASSETS, LOOKING, SCENARIOS

from churn_assets.automation.jobs import JOBS
from churn_assets.cli import app
from churn_assets.definitions import defs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked"),
]

LEAST_POINTS = 200
SWITCHES = {"models promote", "models rollback"}
BUILDING = {"seed", "build", "retrain", "score", "drift", "demo-drift"}
"""Commands that run jobs: what these write is what assets write."""

SWITCHING = [scenario for scenario in SCENARIOS if "production_model" in scenario.name or scenario.name in SWITCHES]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_whoever_is_killed_leaves_whole_files_and_the_next_completes(scenario, killed):
    points, problems = killed[scenario.name]
    assert points
    assert not problems, f"{len(problems)} of {len(points)} points:\n" + "\n".join(problems)


def test_at_least_two_hundred_points_of_every_kind_were_died_at(killed):
    assert sum(len(points) for points, _ in killed.values()) >= LEAST_POINTS
    kinds = Counter(kind for points, _ in killed.values() for point in points for kind, _ in point.moments)
    every = {BEFORE_WRITE, MID_WRITE, BEFORE_RENAME, AFTER_RENAME, HOLDING_LOCK, BEFORE_REMOVAL, MID_APPEND}
    assert kinds.keys() == every


@pytest.mark.parametrize("scenario", SWITCHING, ids=lambda scenario: scenario.name)
def test_the_alias_changes_between_an_intent_and_what_became_of_it(scenario, killed):
    """Of all moments this is the one at which files and history say different things."""
    points = killed[scenario.name][0]
    alias, history = "artifacts/models/production_latest.joblib", "artifacts/registry/history.jsonl"
    moments = [moment for point in points for moment in point.moments]
    assert {(kind, alias) for kind in (BEFORE_WRITE, MID_WRITE, BEFORE_RENAME, AFTER_RENAME)} <= set(moments)
    assert any(set(point.moments) == {(AFTER_RENAME, alias), (BEFORE_WRITE, history)} for point in points)


def test_every_asset_is_interrupted():
    assert {name for scenario in SCENARIOS for name in scenario.assets} == ASSETS.keys()
    layers = [defs.resolve_job_def(job.name).asset_layer for job in JOBS]
    assert {key.to_user_string() for layer in layers for key in layer.executable_asset_keys} <= ASSETS.keys()


def test_every_command_that_writes_is_interrupted():
    interrupted = {name for scenario in SCENARIOS for name in scenario.commands}
    assert set(commands(typer.main.get_command(app))) == interrupted | set(LOOKING.commands) | BUILDING


@pytest.mark.parametrize("scenario", [LOOKING], ids=lambda scenario: scenario.name)
def test_commands_that_only_look_write_nothing(scenario, killed):
    points, problems = killed[scenario.name]
    assert not problems, "\n".join(problems)
    assert not points


def commands(group, *above):
    """Every command by its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *above, name)
        else:
            yield " ".join([*above, name])

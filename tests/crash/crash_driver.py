"""Kills every scenario at each of its points, in processes that are forked from one that has imported all already.

`python crash_driver.py FOLDER SCENARIO...` writes `<scenario>.json` into the folder, for each scenario. The settings of
the worlds are in its environment.
"""

import contextlib
import dataclasses
import json
import logging
import os
import sys
import traceback
from datetime import timedelta
from pathlib import Path

from crash_invariants import assert_answers, assert_status_works
from crash_lane import Lane
from crash_points import APPEND
from crash_scenarios import AFTERWARDS, FIRST, HISTORY_STEPS, LOOKING, NEXT_DAY, build, decide, no_place
from crash_world import DAY, DAY_BEFORE, LABEL_DAYS, World

from churn_assets.automation import dagster_home

LANES = min(4, max(2, os.cpu_count() or 1))
PLAIN = b"<svg xmlns='http://www.w3.org/2000/svg'/>"


def lighten():
    """Leave out what costs much and changes no file: pictures in pages, fitting again, and waiting for the disk."""
    from churn_assets.monitoring import evidently_page
    from churn_assets.training import challenger, plots

    for name in ("precision_recall_svg", "calibration_svg", "score_distribution_svg"):
        setattr(plots, name, lambda *_, **__: PLAIN)
    evidently_page.evidently_page = lambda *_, **__: "<html></html>"
    challenger._fit = _once(challenger._fit)
    os.fsync = lambda _: None  # what a killed process has written is the kernel's, on the disk or not


def _once(fit):
    """The same model for the same rows; made while worlds are, and inherited by forks."""
    known = {}

    def fitted(workspace, role, parts):
        key = role, parts.fingerprint
        if key not in known:
            known[key] = fit(workspace, role, parts)
        return known[key]

    return fitted


def tell_appends():
    """Let the logs of the service be written in halves, with a moment to die in between."""
    from churn_serving.logs import rotated_file

    write_all = rotated_file.write_all

    def in_halves(write, content):
        write_all(write, content[: len(content) // 2])
        sys.audit(APPEND, write.__self__.fileno())
        write_all(write, content[len(content) // 2 :])

    rotated_file.write_all = in_halves


def first_run(world):
    """Build the history of a new deployment up to the day before, all but its production model."""
    world.enter(DAY)
    first, last = world.workspace.history_start, DAY_BEFORE
    build("raw_users")
    build("raw_events", first, last)
    build("validated_users")
    for step in HISTORY_STEPS[1:]:
        build(step, first, last)
    for day in _scored():
        build("user_features", day)
    for step in ("training_set", "baseline_model", "candidate_model"):
        build(step)


def first_lists(world):
    """Promote the first model, and score some days with it."""
    world.enter(DAY)
    decide()
    for step in ("churn_predictions", "score_proxy"):
        for day in _scored():
            build(step, day)
    build("drift_report", DAY_BEFORE)
    build("performance_report", DAY_BEFORE)
    assert_answers()  # here once, so that children find imported what that takes
    assert_status_works()  # which makes Dagster's database


def _scored():
    """Days with predictions: some whose labels mature on the day that is built next, and the newest."""
    mature = DAY - timedelta(days=LABEL_DAYS)
    return mature - timedelta(days=1), mature, DAY_BEFORE


def worlds(folder, wanted):
    """Each wanted scenario with a world in which it may be run; made by running the ones before, here."""
    latest = World.empty(folder / "new")
    first_run(latest)
    if FIRST.name in wanted:
        yield _prepared(FIRST, latest, folder)
    latest = latest.copied(folder / "first")
    first_lists(latest)
    for scenario in NEXT_DAY:
        lane = _prepared(scenario, latest, folder)
        if scenario.name in wanted:
            yield lane
        latest = lane.start.copied(folder / f"after {scenario.name}")
        latest.enter()
        scenario.run()
    for scenario in (*AFTERWARDS, LOOKING):
        if scenario.name in wanted:
            yield _prepared(scenario, latest, folder)


def _prepared(scenario, world, folder):
    """A world like another, made ready for a scenario."""
    place = folder / scenario.name
    start = world.copied(place / "start")
    start.enter()
    scenario.prepare()
    return Lane(scenario, start, place)


def main():
    """Make the worlds, then work on some scenarios at a time."""
    folder, wanted = Path(sys.argv[1]), set(sys.argv[2:])
    logging.disable(logging.WARNING)
    lighten()
    tell_appends()
    lanes, running = list(worlds(folder, wanted))[::-1], 0  # the longest come first
    # What `churn status` asks: to open Dagster's storage takes longer than all the rest, and SQLite keeps that whole.
    dagster_home.instance = lambda: contextlib.nullcontext(no_place())
    for lane in lanes:
        if running == LANES:
            os.wait()
            running -= 1
        if os.fork() == 0:
            _work(lane, folder)
        running += 1
    for _ in range(running):
        os.wait()


def _work(lane, folder):
    try:
        lane.run()
    except BaseException:  # noqa: BLE001 - the tests tell it
        lane.problems.append(traceback.format_exc())
    points = [dataclasses.asdict(point) for point in lane.points]
    report = {"points": points, "problems": lane.problems}
    (folder / f"{lane.scenario.name}.json").write_text(json.dumps(report, indent=1))
    os._exit(0)


if __name__ == "__main__":
    main()

"""One scenario, and all the moments at which it is killed."""

import contextlib
import dataclasses
import signal
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from crash_child import bounded, in_child
from crash_invariants import Service, Standing, assert_answers, assert_status_works, assert_whole, spoken, unlike
from crash_points import Point, Watch, chosen, labelled
from crash_scenarios import Scenario
from crash_world import Outcome, World


@dataclass
class Lane:
    """A scenario under test.

    Attributes:
        scenario: What is interrupted.
        start: The world before. Nothing may change it.
        folder: Where its copies are made.
        points: Where it was killed.
        problems: What went wrong.
    """

    scenario: Scenario
    start: World
    folder: Path
    points: list = field(default_factory=list)
    problems: list = field(default_factory=list)

    def run(self):
        """Kill the scenario at every point."""
        began, before = time.time(), self.start.digests()
        standing, known = Standing.of(self.start), self.start.inodes()
        told, first, said = self._undisturbed(lambda world: _recorded(self.scenario, world, standing))
        self.points = chosen([Point(*point) for point in told], with_owners=self.scenario.with_owners)
        ended = [(point, self._killed(point, standing, known)) for point in self.points]
        while time.time() - began < 1.1:  # so that names with a time in them are others in the second run
            time.sleep(0.01)
        second, _ = self._undisturbed(lambda world: _finished(self.scenario, world, standing))
        outcome = Outcome.of(before, first, second)
        for point, found in ended:
            if found is not None and (difference := outcome.difference(found[0]) or unlike(said, found[1])):
                self.problems.append(f"{point}: after it was completed: {difference}")
        if self.start.digests() != before:
            self.problems.append("a file was written into, and not replaced")

    def _undisturbed(self, work):
        with self._copy() as world:
            ended = self._child(lambda: work(world))
        if ended.wrong:
            raise AssertionError(f"uninterrupted: {ended.wrong}")
        return ended.content

    def _killed(self, point, standing, known):
        """Kill it at a point, look at what is left, have it completed; returns the state then, None if it failed."""
        with self._copy() as world:
            service = Service(world)
            died = self._child(lambda: _die(self.scenario, world, point))
            if died.signal != signal.SIGKILL:
                self.problems.append(f"{point}: it was not killed there; {died.wrong or 'it came to its end'}")
                return None
            try:
                with bounded():
                    service.assert_goes_on()
                    return _mended(self.scenario, world, standing, known)
            except Exception:  # noqa: BLE001 - the tests tell it
                self.problems.append(f"{point}: {traceback.format_exc(limit=-5)}")
                return None

    def _child(self, work):
        return in_child(work, self.folder / "told.json")

    @contextlib.contextmanager
    def _copy(self):
        """A copy of the world, at the same place each time: files may have paths in them."""
        world = self.start.copied(self.folder / "world")
        try:
            yield world
        finally:
            world.remove()


def _recorded(scenario, world, standing):
    """Run it, and note all its points."""
    world.enter()
    watch = Watch(world.root).install()
    scenario.run()
    points = labelled(list(watch.points))
    assert_answers()
    return [[dataclasses.astuple(point) for point in points], *_state(world, standing)]


def _die(scenario, world, point):
    world.enter()
    Watch(world.root, point).install()
    scenario.run()


def _mended(scenario, world, standing, known):
    """Make sure of all that must hold although nobody has done anything since; then complete what was begun."""
    world.enter()
    nobody_serves = standing.serving is None
    assert_whole(world, known)
    assert_status_works()
    if not scenario.is_restore:
        if not nobody_serves:
            Service(world).assert_is_whole(world)
        standing.assert_kept(world)
    found = _finished(scenario, world, standing)
    assert_whole(world, known)
    Service(world).assert_is_whole(world)
    return found


def _finished(scenario, world, standing):
    world.enter()
    scenario.run()
    return _state(world, standing)


def _state(world, standing):
    """The digests of all files, and what the history says that it did not say before."""
    entries = standing.assert_kept(world)
    return [world.digests(), spoken(entries)]

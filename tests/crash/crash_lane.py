"""One scenario, and all the moments at which it is killed."""

import contextlib
import dataclasses
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from crash_child import in_child
from crash_invariants import Standing, assert_serves, assert_status_works, assert_whole, spoken, unlike
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
        told, first, said = self._undisturbed(
            lambda world: [*_recorded(self.scenario, world), *_state(world, standing)]
        )
        self.points = chosen([Point(*point) for point in told])
        ended = [(point, self._killed(point, standing, known)) for point in self.points]
        while time.time() - began < 1.1:  # so that names with a time in them are others in the second run
            time.sleep(0.01)
        second, _ = self._undisturbed(lambda world: _completed(self.scenario.run, world, standing))
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
            died = self._child(lambda: _die(self.scenario, world, point))
            if died.signal != signal.SIGKILL:
                self.problems.append(f"{point}: it was not killed there; {died.wrong or 'it came to its end'}")
                return None
            may_lack = self.scenario.may_stop_service or standing.serving is None
            ended = self._child(lambda: _look(self.scenario, world, standing, known, may_lack=may_lack))
            what = "right after"
            if not ended.wrong:
                what, finish = "when it is completed", self.scenario.finish or self.scenario.run
                ended = self._child(lambda: _completed(finish, world, standing))
        if ended.wrong:
            self.problems.append(f"{point}: {what}: {ended.wrong}")
            return None
        return ended.content

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


def _recorded(scenario, world):
    """Run it, and note all its points."""
    world.enter()
    watch = Watch(world.root).install()
    points = watch.points
    scenario.run()
    return [[dataclasses.astuple(point) for point in labelled(list(points))]]


def _die(scenario, world, point):
    world.enter()
    Watch(world.root, point).install()
    scenario.run()


def _look(scenario, world, standing, known, *, may_lack):
    """What must hold although nobody has done anything since."""
    world.enter()
    assert_whole(world, known)
    assert_status_works()
    assert_serves(world, may_lack=may_lack)
    if not scenario.may_stop_service:
        standing.assert_kept(world)


def _completed(finish, world, standing):
    world.enter()
    finish()
    return _state(world, standing)


def _state(world, standing):
    """The digests of all files, and what the history says that it did not say before."""
    assert_status_works()
    assert_serves(world, may_lack=False)
    return [world.digests(), spoken(standing.assert_kept(world))]

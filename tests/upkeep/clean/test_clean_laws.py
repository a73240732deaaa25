"""Laws of the clean-up, whatever the limits and whatever serves: what is needed survives, and a dry run is right."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from builders import files_of
from clean_world import AGES, EVERYTHING, JUDGED, LONGEST, WEEKS, WINDOW, YESTERDAY, World, ago
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_assets.monitoring.quality import DAYS_WANTED

NAMES = [("baseline", 1), ("candidate", 1), ("candidate", 2), ("baseline", 3), ("candidate", 4), ("baseline", 5)]
KIND_OF = {
    "prediction_log_days": "prediction log",
    "predictions_days": "predictions",
    "reports_days": "reports",
    "quarantine_days": "quarantine",
    "features_days": "features",
    "raw_days": "raw",
}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Files of many days, and versions of which none serves yet."""
    world = World(tmp_path_factory.mktemp("template")).fill()
    versions = [world.register(number, role) for role, number in NAMES]
    return world, versions


ages = st.one_of(st.none(), st.sampled_from([1, *AGES]), st.integers(1, 400))
limits = st.fixed_dictionaries(dict.fromkeys(KIND_OF, ages)).flatmap(
    lambda chosen: st.integers(2, 7).map(lambda count: chosen | {"models_count": count})
)
situations = st.fixed_dictionaries(
    {
        "promoted": st.lists(st.integers(0, len(NAMES) - 1), min_size=1, max_size=3),
        "alert": st.one_of(
            st.none(),
            st.tuples(st.integers(0, len(NAMES) - 1), st.sampled_from(["drift", "performance"]), st.integers(1, 120)),
        ),
    }
)


class Copy:
    """A copy of the template in a situation, for as long as the context lasts."""

    def __init__(self, template, situation):
        self._template, self._situation = template, situation

    def __enter__(self):
        source, self.versions = self._template
        self._place = tempfile.TemporaryDirectory(dir=source.folder.parent)
        shutil.copytree(source.folder, Path(self._place.name) / "it", copy_function=os.link)  # all writes are renames
        self.world = World(Path(self._place.name) / "it")
        for number in self._situation["promoted"]:
            self.world.promote(self.versions[number])
        if self._situation["alert"]:
            number, kind, age = self._situation["alert"]
            self.world.alarm(self.versions[number], kind, ago(age))
        return self

    def __exit__(self, *_):
        self._place.cleanup()

    def needed(self):
        """What must survive, said in other words than the code's."""
        world, found = self.world, set(self.world.of_no_day())
        for age in AGES:
            day, files = ago(age), world.by_kind(ago(age))
            behind = (YESTERDAY - day).days
            found |= set(files["for ever"])
            if behind < WINDOW or age == min(AGES):
                found |= {*files["predictions"], *files["prediction log"]}
            if behind < WINDOW + JUDGED or age == min(AGES):
                found |= set(files["features"])
            if behind <= DAYS_WANTED + LONGEST:
                found |= {*files["raw"], world.layout.feed_profile(day)}
            if behind < WINDOW + 7 * (WEEKS - 1):
                found |= {path for path in files["reports"] if path.parent.name in {"outcomes", "rescored", "weeks"}}
            if age in sorted(AGES)[:2] or self._is_of_the_alert(day):
                found |= self._alarming(day, everything=age in sorted(AGES)[:2])
        versions = self._versions()
        return found | {path for version in versions for path in world.of_version(version)}

    def _is_of_the_alert(self, day):
        alert = self._situation["alert"]
        return alert is not None and day >= ago(alert[2])

    def _alarming(self, day, *, everything):
        layout = self.world.layout
        drift = {layout.drift_file(day), layout.drift_page(day), layout.evidently_page(day)}
        performance = {layout.performance_file(day), layout.performance_page(day)}
        if everything:
            return drift | performance
        return drift if self._situation["alert"][1] == "drift" else performance

    def _versions(self):
        order = list(dict.fromkeys(reversed(self._situation["promoted"])))
        kept = {self.versions[number] for number in order[:2]} | set(self.versions[-2:])
        if self._situation["alert"]:
            kept.add(self.versions[self._situation["alert"][0]])
        return kept


@settings(max_examples=30)
@given(chosen=limits, situation=situations)
def test_what_is_needed_survives_and_nothing_younger_than_its_limit_goes(template, chosen, situation):
    with Copy(template, situation) as copy:
        before, needed = copy.world.files(), copy.needed()
        assert needed <= before
        cleaned = copy.world.clean(**chosen)
        assert cleaned.problems == []
        gone = before - copy.world.files()
        assert gone & needed == set()
        allowed = set()
        for name, kind in KIND_OF.items():
            old = [ago(age) for age in AGES if chosen[name] and age > chosen[name]]
            allowed |= {path for day in old for path in copy.world.by_kind(day)[kind]}
        allowed |= {path for path in gone if any(version in str(path) for version in copy.versions)}
        assert gone <= allowed
        assert len(copy.world.registry.versions()) >= min(chosen["models_count"], len(NAMES))
        assert copy.world.registry.verify_history() is None


@settings(max_examples=25)
@given(chosen=limits, situation=situations)
def test_a_dry_run_changes_nothing_and_foretells_what_goes(template, chosen, situation):
    with Copy(template, situation) as copy:
        before, there = files_of(copy.world.folder), set(copy.world.folder.rglob("*"))
        foretold = copy.world.clean(**chosen, dry_run=True)
        assert files_of(copy.world.folder) == before
        assert set(copy.world.folder.rglob("*")) == there
        done = copy.world.clean(**chosen)
        assert done.as_json() == foretold.as_json() | {"dry_run": False}
        assert (foretold.is_dry, done.is_dry) == (True, False)


@settings(max_examples=10)
@given(chosen=limits, situation=situations)
def test_a_second_time_there_is_nothing_left_to_do(template, chosen, situation):
    with Copy(template, situation) as copy:
        first = copy.world.clean(**chosen)
        left = files_of(copy.world.folder)
        second = copy.world.clean(**chosen)
        assert second.as_json()["items"] == 0
        assert files_of(copy.world.folder) == left
        assert [one.kept for one in second.kinds] == [one.kept for one in first.kinds]


def test_the_strictest_limits_remove_all_that_is_not_needed(template):
    with Copy(template, {"promoted": [0, 2], "alert": None}) as copy:
        before, needed = copy.world.files(), copy.needed()
        copy.world.clean(**EVERYTHING)
        left = copy.world.files()
        assert needed <= left < before
        days = {age: copy.world.by_kind(ago(age)) for age in AGES}
        assert [age for age in AGES if set(days[age]["raw"]) & left] == [age for age in AGES if age <= 121]
        assert [age for age in AGES if set(days[age]["features"]) & left] == [age for age in AGES if age <= 14]
        assert [age for age in AGES if set(days[age]["predictions"]) & left] == [age for age in AGES if age <= 7]
        assert [age for age in AGES if set(days[age]["quarantine"]) & left] == [1]
        assert [version.version for version in copy.world.registry.versions()] == [
            copy.versions[number] for number in (5, 4, 2, 0)
        ]

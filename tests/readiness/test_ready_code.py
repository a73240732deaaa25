"""Code Quality: what is said of a checkout, and where there is none."""

import os

import pytest
from readiness_world import NOW

from churn_assets.readiness import code

CHECKS = (code.lint, code.commit, code.packages, code.last_tests, code.review)


@pytest.mark.parametrize("check", CHECKS)
def test_without_the_source_nothing_can_be_said_of_it(place, check):
    answer = place.ask(check)
    assert answer.outcome == "warn"
    assert "in a checkout of" in answer.fix


@pytest.mark.parametrize("check", CHECKS[1:])
def test_a_clean_reviewed_and_tested_checkout_passes(checked_out, check):
    assert checked_out.ask(check).outcome == "pass"


def test_lint_runs_only_if_asked_for(checked_out):
    checked_out.source.edit("Makefile", "@echo all is clean", "@echo ran > ran")
    assert checked_out.ask(code.lint).outcome == "warn"
    assert not (checked_out.source.root / "ran").exists()
    checked_out.deep = True
    assert checked_out.ask(code.lint).outcome == "pass"
    assert (checked_out.source.root / "ran").exists()


def test_lint_that_complains_fails(checked_out):
    checked_out.deep = True
    checked_out.source.edit("Makefile", "@echo all is clean", "@echo E501 too long; exit 1")
    answer = checked_out.ask(code.lint)
    assert (answer.outcome, answer.fix) == ("fail", "make lint")
    assert "E501 too long" in answer.found


def test_what_differs_from_the_commit_is_counted(checked_out):
    checked_out.source.write("tests/test_one.py", "x = 1\n")
    checked_out.source.write("tests/test_two.py", "")
    answer = checked_out.ask(code.commit)
    assert answer.outcome == "warn"
    assert answer.found.startswith("2 files differ")


def test_a_folder_without_a_repository_is_no_commit(checked_out, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checked_out.source.root.parent))
    (checked_out.source.root / ".git").rename(checked_out.source.root / "not.git")
    assert "no Git repository" in checked_out.ask(code.commit).found


def test_looking_at_the_commit_leaves_the_index_alone(checked_out):
    index = checked_out.source.root / ".git" / "index"
    os.utime(checked_out.source.root / "Makefile", (1, 1))  # which a plain `git status` would write down
    before = (index.read_bytes(), index.stat().st_mtime_ns)
    checked_out.ask(code.commit)
    assert (index.read_bytes(), index.stat().st_mtime_ns) == before


def test_other_packages_than_the_locked_ones_are_named(checked_out):
    lock = checked_out.source.root / "requirements" / "pipeline.txt"
    lock.write_text(f"{lock.read_text()}numpy==0.0.1 \\\n    --hash=sha256:00\nno-such-thing==1.0\n")
    answer = checked_out.ask(code.packages)
    assert (answer.outcome, answer.fix) == ("fail", "make setup")
    assert answer.found.startswith("2 of 3 packages differ")
    assert "no-such-thing missing, not 1.0" in answer.found


def test_failed_tests_are_named(checked_out):
    checked_out.source.tested(failed=[f"tests/test_one.py::test_{n}" for n in range(5)])
    answer = checked_out.ask(code.last_tests)
    assert answer.outcome == "fail"
    assert "5 tests failed" in answer.found
    assert "and 2 more" in answer.found


def test_a_source_that_changed_since_is_not_tested(checked_out):
    later = NOW.timestamp() + 10**9
    os.utime(checked_out.source.root / "tests" / "test_one.py", (later, later))
    answer = checked_out.ask(code.last_tests)
    assert (answer.outcome, answer.fix) == ("warn", "make test")


def test_no_run_is_on_record_without_a_cache(checked_out):
    checked_out.source.remove(".pytest_cache/v/cache/nodeids")
    assert checked_out.ask(code.last_tests).found == "no run is on record here"


def test_a_commit_is_reviewed_by_a_name_or_by_an_annotated_tag(checked_out):
    assert "Ada" in checked_out.ask(code.review).found
    checked_out.source.commit("Nobody looked at this")
    assert checked_out.ask(code.review).outcome == "warn"
    checked_out.source.git("tag", "light")
    assert checked_out.ask(code.review).outcome == "warn"
    checked_out.source.git("tag", "--annotate", "v9", "--message", "reviewed by Ada")
    assert checked_out.ask(code.review).found == "tagged v9"

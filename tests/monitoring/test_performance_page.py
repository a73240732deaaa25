from datetime import timedelta

import pytest
from page_outline import Outline
from performance_world import WINDOW, World, after, shuffled

from churn_assets.monitoring.performance.build import report_day

DAY = after(30)
FIRST = 23 - 6
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.promote()
    return made


def page_of(world, day=DAY):
    reported = report_day(world.workspace, day)
    return reported.report, reported.page.read_text(encoding="utf-8")


@pytest.mark.parametrize(("change", "words"), [({}, "As promised"), ({"lead": shuffled}, "Performance alert")])
def test_says_the_verdict_the_weeks_and_the_estimate(world, change, words):
    world.live(FIRST, 23, **change)
    world.score(DAY)
    report, page = page_of(world)
    text = Outline(page).text
    for expected in (words, report.headline, DAY.isoformat(), "candidate_hgb_1", f"{report.pr_auc:.3f}"):
        assert expected in text
    assert report.what_to_do.replace("`", "") in text
    assert str(DAY + timedelta(days=WINDOW)) in text
    assert "concept drift" in text
    for week in report.weeks:
        assert week.week in text
    assert ("stands since" in text) == (report.alert is not None)


def test_draws_a_place_for_each_week_and_one_for_now(world):
    world.live(FIRST, 23)
    world.score(DAY)
    report, page = page_of(world)
    assert page.count('class="dot"') == len(report.weeks) == page.count('class="whisker"')
    assert page.count('class="ahead-dot"') == 1


def test_stands_alone_and_is_the_same_each_time(world):
    world.live(FIRST, 23)
    _, page = page_of(world)
    assert Outline(page).links == []
    assert "http:" not in page
    assert page_of(world)[1] == page


def test_nothing_known_is_a_page_as_well(world):
    report, page = page_of(world)
    outline = Outline(page)
    assert "Not known yet" in outline.text
    assert report.headline in outline.text
    assert "svg" not in outline.tags
    assert "nan" not in outline.text


def test_a_week_of_one_class_is_a_row_without_areas(world):
    world.live(FIRST, 20, left=False)
    world.live(21, 23)
    report, page = page_of(world)
    assert report.weeks[0].batch.pr_auc is None
    assert report.weeks[0].week in Outline(page).text
    assert page.count('class="dot"') == 1


def test_escapes_the_names_of_models(world):
    world.live(FIRST, 22)
    world.score(after(23), EVIL)
    world.mature(after(23))
    _, page = page_of(world)
    assert "<script" not in page
    assert "&lt;script&gt;" in page

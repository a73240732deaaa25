from __future__ import annotations

import datetime as dt
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from training_builders import FIRST, card, judged_rows

from churn_assets.settings import GateSettings
from churn_assets.training.breakdown import Importance, Segment
from churn_assets.training.evaluation import choose_threshold, evaluate
from churn_assets.training.gates import judge
from churn_assets.training.model_card import render_model_card
from churn_assets.training.plots import calibration_svg, importance_svg, precision_recall_svg, score_distribution_svg
from churn_assets.training.splits import split_dates

VOID = {"meta", "img", "br"}
NASTY = "<script>alert('x')</script>&\"$x$"


class Page(HTMLParser):
    """Collects the text of a page, and fails on a tag that is closed wrongly."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_it_tells_what_is_predicted_how_well_and_how_to_go_back():
    text = Page(render_model_card(card())).text
    assert "candidate_hgb_20260105T030012Z" in text
    assert "do nothing at all in the 30 days to come" in text
    assert "All gates passed" in text
    assert "against baseline_logreg_20251229T030009Z" in text
    assert "churn models rollback baseline_logreg_20251229T030009Z" in text
    assert "watch_minutes_7d" in text
    assert "31,200" in text


def test_it_needs_nothing_from_elsewhere():
    page = Page(render_model_card(card()))
    assert {"script", "link", "iframe"}.isdisjoint(page.tags)
    assert all(link.startswith("data:image/svg+xml;base64,") for link in page.links)
    assert not re.search(r"url\(|@import", render_model_card(card()))


def test_whatever_comes_from_data_is_escaped():
    segment = Segment(
        column=NASTY,
        level=NASTY,
        n_rows=3,
        prevalence=0.1,
        mean_score=0.2,
        pr_auc=None,
        roc_auc=None,
        calibration_gap=0.1,
    )
    names = ["version", "decision", "decision_why", "champion", "source", "data_fingerprint", "previous_version"]
    page = render_model_card(
        card(
            **dict.fromkeys(names, NASTY),
            segments=(segment,),
            importance=(Importance(feature=NASTY, phrase=NASTY, value=1.0),),
            absent_features=(NASTY,),
            environment=((NASTY, NASTY),),
        )
    )
    assert "<script" not in page
    assert "script" not in Page(page).tags
    assert NASTY in Page(page).text


def test_a_refused_model_says_which_gates_failed_and_why():
    tested = card().evaluation
    verdict = judge(tested, champion=None, golden_max_error=1.0, latency_us=5.0, settings=GateSettings(min_pr_auc=0.99))
    text = Page(render_model_card(card(decision="refused", verdict=verdict))).text
    assert "2 of 6 gates failed" in text
    assert "is below 0.990" in text
    assert "All gates passed" not in text


def test_a_short_history_is_told():
    dates = [FIRST + dt.timedelta(days=7 * i) for i in range(13)]
    split = split_dates(dates, window_days=30)
    page = render_model_card(card(split=split))
    assert "20% of the users of the training period" in page
    assert page.count('title="embargo') == 1


def test_a_first_model_without_champion_interval_or_features_to_rank_renders():
    labels, scores, *_ = judged_rows(n_users=20)
    one_class = evaluate(np.zeros_like(labels), scores, ["u"] * len(labels), recency=None, threshold=0.3, seed=1)
    page = render_model_card(
        card(
            evaluation=one_class,
            champion=None,
            champion_difference=None,
            previous_version=None,
            importance=(),
            segments=(),
            absent_features=(),
        )
    )
    text = Page(page).text
    assert "no earlier production model" in text
    assert not re.search(r"\b(nan|None)\b", text)


@pytest.mark.parametrize("one_class", [False, True])
def test_pictures_are_well_formed_reproducible_and_self_contained(one_class):
    labels, scores, users, recency = judged_rows(n_users=60)
    bands = choose_threshold(labels, scores)
    labels = np.zeros_like(labels) if one_class else labels
    tested = evaluate(labels, scores, users, recency=recency, threshold=0.3, seed=1, replicates=0)
    drawings = [
        lambda: precision_recall_svg(labels, scores, recency=recency),
        lambda: calibration_svg(tested.calibration),
        lambda: score_distribution_svg(labels, scores, bands),
        lambda: importance_svg([Importance(feature="f", phrase=NASTY, value=0.1)], title="Worth"),
    ]
    for draw in drawings:
        picture = draw()
        assert ET.fromstring(picture).tag.endswith("svg")  # noqa: S314 - our own file
        assert b'href="http' not in picture
        assert picture == draw()

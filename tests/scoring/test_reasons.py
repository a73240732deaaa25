import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from churn_assets.scoring.reasons import Reasons
from churn_serving.reasons import strongest

CONTRIBUTIONS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 8), st.integers(1, 6)),
    elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0]),
)


@given(CONTRIBUTIONS)
def test_strongest_are_the_largest_whatever_their_sign(contributions):
    found = strongest(contributions, 3)
    for row, places in zip(contributions, found, strict=True):
        expected = sorted(range(len(row)), key=lambda j: (-abs(row[j]), row[j] <= 0, j))
        assert places.tolist() == expected[:3]


def test_one_text_a_user_and_reason(scorer):
    columns = {
        "active_days_7d": np.array([0.0, 7.0], dtype=object),
        "quiz_avg_score_30d": np.array([None, 95.0], dtype=object),
        "is_paid": np.array([0.0, np.nan], dtype=object),
        "plan": np.array(["pro", None], dtype=object),
    }
    contributions = np.array([[2.0, 0.0, 0.2, -0.7], [-1.5, -0.5, 0.0, 0.0]])
    texts = Reasons(scorer, {"active_days_7d": 4.0}).texts(contributions, columns)
    assert [text[0] for text in texts] == [
        "active days in the last 7 days: 0 (typical 4), raises the risk",
        "plan: pro, lowers the risk",
        "paying customer: no, raises the risk",
    ]
    assert [text[1] for text in texts] == [
        "active days in the last 7 days: 7 (typical 4), lowers the risk",
        "average quiz score in the last 30 days: 95 points, lowers the risk",
        None,
    ]


def test_nan_is_said_like_a_null(scorer):
    columns = {spec.name: np.array([None, np.nan], dtype=object) for spec in scorer.features}
    said = Reasons(scorer, {}).texts(np.array([[0.0, 1.0, 0.0, 0.0]] * 2), columns, 1)
    expected = "average quiz score in the last 30 days: no scored attempt in the window, raises the risk"
    assert said == [[expected, expected]]


def test_model_with_fewer_features_than_reasons(scorer):
    columns = {"active_days_7d": np.array([1.0], dtype=object)}
    texts = Reasons(scorer, {}).texts(np.array([[0.4]]), columns)
    assert texts == [["active days in the last 7 days: 1, raises the risk"], [None], [None]]

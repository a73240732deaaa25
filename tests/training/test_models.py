from __future__ import annotations

import io
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from training_builders import FEATURES, training_frame

from churn_assets.settings import ModelSettings
from churn_assets.training.evaluation import evaluate
from churn_assets.training.models import (
    OneClassOnly,
    feature_frame,
    fit_baseline,
    fit_candidate,
    levels_seen,
    predict,
)
from churn_serving.schema import FeatureSpec

FITS = [fit_baseline, fit_candidate]
SMALL = ModelSettings(iterations=40, min_samples_leaf=20)


@pytest.fixture(scope="module")
def parts():
    frame = training_frame()
    users = frame["user_id"]
    train, calibration = frame[users < "u00180"], frame[(users >= "u00180") & (users < "u00240")]
    return train, calibration, frame[users >= "u00240"], levels_seen(train, FEATURES)


@pytest.fixture(scope="module", params=FITS, ids=["baseline", "candidate"])
def fitted(request, parts):
    train, calibration, _, features = parts
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return request.param(train, calibration, features, seed=3, settings=SMALL)


def test_it_ranks_better_than_recency_and_is_calibrated(fitted, parts):
    *_, test, features = parts
    scores = predict(fitted, test, features)
    recency = test["days_since_last_activity"]
    judged = evaluate(test["churned"], scores, test["user_id"], recency=recency, threshold=0.5, seed=1, replicates=0)
    assert judged.pr_auc.value > judged.recency_pr_auc.value + 0.05
    assert abs(scores.mean() - test["churned"].mean()) < 0.06


def test_it_has_the_form_that_the_compiled_scorer_reads(fitted):
    assert type(fitted).__name__ == "CalibratedClassifierCV"
    assert len(fitted.calibrated_classifiers_) == 1
    pipeline = fitted.calibrated_classifiers_[0].estimator.estimator
    assert list(pipeline.named_steps) == ["encode", "classify"]
    assert type(pipeline["encode"]).__name__ == "ColumnTransformer"


def test_missing_numbers_unseen_and_missing_categories_are_scored(fitted, parts):
    *_, test, features = parts
    rows = test.head(4).copy()
    rows["country"] = pd.Series(["ZZ", None, "NO", "<script>"], index=rows.index)
    rows["payments"] = [1.0, np.nan, 3.0, 4.0]
    rows[["active_days_7d", "is_paid", "trend"]] = np.nan
    scores = predict(fitted, rows, features)
    assert np.isfinite(scores).all()
    assert scores[0] == predict(fitted, rows.assign(country="another unseen one"), features)[0]


class Recorder(pickle.Unpickler):
    """Notes the packages that a pickle calls for."""

    def __init__(self, pickled: bytes) -> None:
        super().__init__(io.BytesIO(pickled))
        self.packages: set[str] = set()

    def find_class(self, module, name):
        self.packages.add(module.partition(".")[0])
        return super().find_class(module, name)


def test_it_can_be_loaded_where_our_packages_are_unknown(fitted, parts):
    *_, test, features = parts
    recorder = Recorder(pickle.dumps(fitted))
    loaded = recorder.load()
    assert recorder.packages <= {"sklearn", "numpy", "scipy", "builtins", "copyreg"}
    assert predict(loaded, test, features).tobytes() == predict(fitted, test, features).tobytes()


@pytest.mark.parametrize("fit", FITS)
def test_the_same_seed_gives_the_same_bytes_on_one_thread_and_on_two(fit, parts):
    train, calibration, test, features = parts
    settings = [ModelSettings(iterations=10, threads=threads) for threads in (1, 2)]
    runs = [predict(fit(train, calibration, features, seed=3, settings=one), test, features) for one in settings]
    assert runs[0].tobytes() == runs[1].tobytes()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("part", ["training", "calibration"])
def test_one_class_is_refused_with_counts(fit, part, parts):
    train, calibration, _, features = parts
    rows = {"training": train, "calibration": calibration}
    rows[part] = rows[part].assign(churned=np.int8(0))
    with pytest.raises(OneClassOnly, match=f"{part} rows .* 0 churned, {len(rows[part])} stayed"):
        fit(rows["training"], rows["calibration"], features, seed=3, settings=SMALL)


@pytest.mark.parametrize("fit", FITS)
def test_a_model_of_one_kind_of_feature_alone_is_possible(fit, parts):
    train, calibration, test, features = parts
    for kept in (features[:2], features[-2:]):
        model = fit(train, calibration, kept, seed=3, settings=ModelSettings(iterations=5))
        assert np.isfinite(predict(model, test, kept)).all()


def test_levels_come_most_frequent_first_with_the_missing_one_and_without_the_rare(parts):
    train, *_ = parts
    country = levels_seen(train, FEATURES, min_rows=20)[-1]
    assert country.categories == ("NO", "IN", "BR", "(missing)")
    assert levels_seen(train, FEATURES, max_levels=1)[-1].categories == ("NO", "(missing)")
    assert levels_seen(train, FEATURES, min_rows=10**6)[-1].categories == ("NO", "(missing)")


def test_a_category_that_is_always_missing_has_that_level_alone(parts):
    train, calibration, test, _ = parts
    nobody = [part.assign(country=None) for part in (train, calibration, test)]
    features = levels_seen(nobody[0], FEATURES)
    assert features[-1].categories == ("(missing)",)
    for fit in FITS:
        model = fit(nobody[0], nobody[1], features, seed=3, settings=ModelSettings(iterations=5))
        assert np.isfinite(predict(model, nobody[2], features)).all()


def test_categories_without_levels_are_refused(parts):
    train, calibration, *_ = parts
    with pytest.raises(ValueError, match="categories without levels: plan, country"):
        fit_baseline(train, calibration, FEATURES, seed=3)


@pytest.mark.parametrize(("value", "words"), [(-2.0, "below 0"), (np.inf, "infinite")])
def test_values_that_cannot_be_are_refused_by_name(value, words):
    count = FeatureSpec(name="logins_7d", kind="number", meaning="Logins.", lower=0)
    with pytest.raises(ValueError, match=f"'logins_7d' has .*{words}"):
        feature_frame(pd.DataFrame({"logins_7d": [1.0, value]}), [count])


def test_the_rows_given_are_not_changed(parts):
    train, *_, features = parts
    before = train.copy(deep=True)
    frame = feature_frame(train, features)
    frame["trend"] = 0.0
    frame.loc[frame.index[0], "plan"] = "changed"
    pd.testing.assert_frame_equal(train, before)


def test_more_leaves_than_the_compiled_scorer_holds_are_refused():
    with pytest.raises(ValueError, match="less than or equal to 31"):
        ModelSettings(max_leaf_nodes=32)

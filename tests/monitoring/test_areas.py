"""The area under the ROC curve of one date, and how sure it is."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from churn_assets.monitoring.areas import roc_auc


def population(seed, users=800):
    rng = np.random.default_rng(seed)
    risk = rng.beta(1.2, 6, users)
    return (rng.random(users) < risk).astype(np.int8), risk.round(2)


def test_it_is_scikit_learns():
    labels, scores = population(1)
    assert roc_auc(labels, scores)[0] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_its_error_is_how_far_it_lies_from_population_to_population():
    found = [roc_auc(*population(seed)) for seed in range(300)]
    assert np.mean([error for _, error in found]) == pytest.approx(np.std([value for value, _ in found]), rel=0.15)


@pytest.mark.parametrize("label", [0, 1])
def test_of_one_class_nothing_is_known(label):
    assert roc_auc(np.full(50, label, np.int8), np.linspace(0, 1, 50)) == (None, 0.0)

"""Publishes a day's scores to the service: each user's risk and rank, found by id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn_assets.features.publish import ids_of
from churn_serving.online.keyed_writer import Draft
from churn_serving.online.publisher import Publisher
from churn_serving.online.scores import COLUMNS, KEPT_DAYS, MODEL_VERSION

if TYPE_CHECKING:
    from datetime import date

    import pyarrow as pa

    from churn_assets.layout import Layout
    from churn_serving.online.pointer import Entry


def publish_scores(layout: Layout, day: date, predictions: pa.Table, model_version: str) -> Entry | None:
    """Publish a day's scores, in place of earlier ones of that day.

    Args:
        layout: Where.
        day: As-of date.
        predictions: `user_id`, `churn_risk`, `risk_rank`; a row a user.
        model_version: What scored them.

    Returns:
        What is published; None if `KEPT_DAYS` later days are.

    Raises:
        OnlineStoreError: The scores cannot be published, or another run is publishing for too long.
        OSError: A file cannot be written; what was published before still is.
    """
    matrix = np.column_stack([predictions[name].to_numpy().astype(np.float64) for name in COLUMNS])
    draft = Draft(
        as_of_date=day,
        ids=ids_of(predictions["user_id"]),
        columns=COLUMNS,
        blocks=[matrix],
        metadata={MODEL_VERSION: model_version},
    )
    return Publisher(layout.online_scores, "scores", KEPT_DAYS).publish(draft)

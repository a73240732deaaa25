"""What days were built from, after the same rows were taken out of them and of what they were built from.

A day whose input was replaced counts as stale, and the next run would build all of history again to find every byte as
it is. So the new input is written down as what they were built from, unless they were stale before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from churn_assets.features.build import label_stamps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from churn_assets.layout import DayTable, StampOf
    from churn_assets.workspace import Workspace


@dataclass(frozen=True)
class Freshness:
    """Which days of which table were stale already.

    Attributes:
        workspace: Where.
        stale: By folder.
    """

    workspace: Workspace
    stale: dict[str, frozenset[date]]

    @classmethod
    def of(cls, workspace: Workspace) -> Freshness:
        """As it is now."""
        return cls(
            workspace,
            {str(table.folder): frozenset(table.stale_days(stamp_of)) for table, stamp_of in _tables(workspace)},
        )

    def keep(self, reopened: Iterable[date] = ()) -> None:
        """Write down what days are built from now; upstream first.

        Args:
            reopened: Days of validated events that have to be built again, as their own input says something else.
        """
        left = set(reopened)
        for table, stamp_of in _tables(self.workspace):
            fresh = set(table.stale_days(stamp_of)) - self.stale[str(table.folder)] - left
            if fresh:
                table.record(sorted(fresh), stamp_of)
            left = set()


def _tables(workspace: Workspace) -> Iterator[tuple[DayTable, StampOf]]:
    """Tables that remember what they were built from, each with what that is now."""
    layout = workspace.layout
    yield layout.events, layout.raw_events.stamp
    yield layout.user_daily, layout.events.stamp
    yield layout.labels, label_stamps(workspace)

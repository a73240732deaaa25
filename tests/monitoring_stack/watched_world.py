"""A small deployment in which everything that is watched is there, and the script of requests that it answers."""

import contextlib
from datetime import timedelta

from http_world import GONE, PEOPLE, World, until
from online_tables import DAY

from churn_serving.atomic import write_json

DRIFT = {"status": "WARN", "score_psi": 0.03, "psi_by_feature": {"active_days_7d": 0.12, "plan": 0.01}}
PERFORMANCE = {"status": "OK", "pr_auc": 0.66, "expected": {"pr_auc": 0.68}}
SCORE_PROXY = {"as_of_date": DAY.isoformat()}
RUNS = {"jobs": {"daily_job": {"failed": False}, "retrain_job": {"failed": False}}}


class WatchedService:
    """A running service; what it serves can be changed.

    Attributes:
        world: Its deployment.
        version: What it is to serve.
        port: Where it listens.
    """

    def __init__(self, world, server):
        self.world = world
        self.version = None
        self.port = server.port
        self._http = server.http

    def serve_another(self):
        """Promote a model of its own, and wait until it answers."""
        self.version = self.world.serve_new(1 if self.version is None else 2)
        until(lambda: self._http.get("/model").json().get("version") == self.version, 20.0, "the new model")

    def answer_until(self, condition):
        """Answer the script again and again until a condition holds."""
        until(lambda: self._answer_all() or condition(), 60.0, "what was to be seen under load")

    def _answer_all(self):
        """One round: every route, and what clients do wrong."""
        for user_id in PEOPLE:
            self._http.post("/predict", json={"user_id": user_id})
        self._http.post("/predict/batch", json={"instances": [{"user_id": user_id} for user_id in PEOPLE]})
        self._http.post("/predict", json={"user_id": "u001", "features": {"plan": 7}})
        for path in ("/users/u001", "/users/nobody", "/model", "/drift", "/ready", "/nowhere"):
            self._http.get(path)


@contextlib.contextmanager
def watched_service(folder):
    """The service, which has refused requests while it had no model, and has one now."""
    world = World(folder)
    metrics = world.paths.artifacts / "metrics"
    contents = {"data_drift": DRIFT, "performance": PERFORMANCE, "score_proxy": SCORE_PROXY, "runs": RUNS}
    for name, content in contents.items():
        write_json(metrics / f"{name}_latest.json", content)
    world.publish(PEOPLE, left=[GONE])
    world.publish_scores(DAY - timedelta(days=1), {"u001": 0.5}, "candidate_hgb_20260101T000000Z")
    with world.server() as server:
        service = WatchedService(world, server)
        refused = server.http.post("/predict", json={"user_id": "u001"})
        assert refused.status_code == 503, refused.text
        service.serve_another()
        yield service

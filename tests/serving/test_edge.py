"""The edge by itself: what a request leaves behind."""

import asyncio
import gc
import weakref

from churn_serving.edge import Edge


class Cycle:
    """What a server keeps of one request: it holds the scope, and gives the way to answer."""

    def __init__(self, path):
        self.scope = {"type": "http", "method": "GET", "path": path, "headers": [], "state": {}}

    async def receive(self):
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message):
        self.last = message


class Nothing:
    """Counts and logs nothing."""

    def request(self, *_):
        pass

    def record(self, *_):
        pass


async def inside(scope, *_):
    await scope["state"]["exchange"].answer(200, b"{}")


def test_a_request_is_gone_without_the_collector():
    edge = Edge(inside, {"/predict": inside}, {}, Nothing(), Nothing(), None, 8)
    gc.disable()  # a collection of ten thousand dead requests would hold up the living ones
    try:
        for path in ("/predict", "/model"):
            cycle = Cycle(path)
            asyncio.run(edge(cycle.scope, cycle.receive, cycle.send))
            assert cycle.last["body"] == b"{}"
            left = weakref.ref(cycle)
            del cycle
            assert left() is None
    finally:
        gc.enable()

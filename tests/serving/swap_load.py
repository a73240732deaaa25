"""A steady load on a real server while its model is swapped, rolled back, overwritten, truncated and deleted."""

import itertools
import pickle
import threading
import time
from dataclasses import dataclass, field

import httpx
from http_world import GONE, PEOPLE, bits, until

TAKE_UP = 5.0
"""Seconds within which a sound change must be answered with."""


class Trap:
    """What would leave a file behind if anybody unpickled it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@dataclass
class Outcome:
    """What came of the requests, and of the changes."""

    requests: int = 0
    rows: int = 0
    failed: list = field(default_factory=list)
    mismatched: list = field(default_factory=list)
    seen: set = field(default_factory=set)
    take_ups: list = field(default_factory=list)
    is_unpickled: bool = False


def swap_under_load(world, server, *, seconds, every, rate, clients=2):
    """Ask `rate` times a second for `seconds`, and change the model every `every` seconds.

    Returns:
        An `Outcome`. Each answer is compared, bit for bit, with what the version that it names gives that user.
    """
    versions = [world.registry.production().version, world.register(11, "linear"), world.register(12, "trees")]
    users = {name: values for name, values in PEOPLE.items() if name != GONE}
    truth = {(v, name): bits(world.score(v, values)) for v in versions for name, values in users.items()}
    outcome, lock, stop = Outcome(), threading.Lock(), threading.Event()
    shifts = [number * clients / rate / clients for number in range(clients)]
    threads = [
        threading.Thread(target=_ask, args=(server, users, truth, outcome, lock, stop, clients / rate, shift))
        for shift in shifts
    ]
    for thread in threads:
        thread.start()
    try:
        _change(world, server, versions, outcome, seconds, every)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    outcome.is_unpickled = (world.root / "unpickled").exists()
    return outcome


def _ask(server, users, truth, outcome, lock, stop, pause, shift):  # noqa: PLR0917 - a thread's
    names = itertools.cycle(users)
    due = time.monotonic() + shift
    with httpx.Client(base_url=server.http.base_url, timeout=10.0) as http:
        for turn in itertools.count():
            if stop.wait(max(due - time.monotonic(), 0.0)):
                return
            due += pause
            some = [next(names) for _ in range(20)] if turn % 10 == 9 else [next(names)]
            instances = [{"user_id": name, "features": users[name]} if turn % 2 else {"user_id": name} for name in some]
            try:
                if len(instances) > 1:
                    answer = http.post("/predict/batch", json={"instances": instances})
                    found = answer.json()["predictions"]
                else:
                    answer = http.post("/predict", json=instances[0])
                    found = [answer.json()]
                problem = "" if answer.status_code == 200 else f"{answer.status_code} {answer.text}"
            except (httpx.TransportError, KeyError, ValueError) as error:
                problem, found = repr(error), []
            with lock:
                _judge(outcome, truth, some, found, problem)


def _judge(outcome, truth, names, found, problem):
    outcome.requests += 1
    if problem:
        outcome.failed.append(problem)
        return
    for name, answer in zip(names, found, strict=True):
        outcome.rows += 1
        version = answer.get("model_version")
        outcome.seen.add(version)
        if bits(answer.get("churn_risk") or 0.0) != truth.get((version, name)):
            outcome.mismatched.append((name, answer))
    if len({answer.get("model_version") for answer in found}) != 1:
        outcome.mismatched.append(found)


def _change(world, server, versions, outcome, seconds, every):  # noqa: PLR0917 - one caller
    """Promote, roll back, copy by hand, truncate, plant a foreign file, delete; in turn, until the time is over."""
    first, second, third = versions
    changes = itertools.cycle(
        [
            (lambda: world.promote(second), second),
            (lambda: world.registry.rollback(actor="tests"), first),
            (lambda: world.put(world.artifact(third).read_bytes()), third),
            (lambda: world.put(world.artifact(third).read_bytes()[:7]), None),
            (lambda: world.promote(first), first),
            (lambda: world.put(pickle.dumps(Trap(world.root / "unpickled"))), None),
            (lambda: world.promote(second), second),
            (world.alias.unlink, None),
            (lambda: world.promote(first), first),
        ]
    )
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        change, version = next(changes)
        change()
        changed = time.monotonic()
        if version:
            until(lambda: _all_serve(server, version), TAKE_UP, f"serving {version}")  # noqa: B023 - called at once
            outcome.take_ups.append(time.monotonic() - changed)
        time.sleep(max(changed + every - time.monotonic(), 0.0))


def _all_serve(server, version):
    workers = server.fresh("GET", "/model").json()["workers"]
    return {worker["model_version"] for worker in workers} == {version}

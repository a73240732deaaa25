"""A Kubernetes API server for tests, on loopback: it keeps Jobs, has pods to show, and remembers what it was asked."""

import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import yaml

PATH = re.compile(
    r"/(?:api/v1|apis/(?P<group>[a-z.]+)/v1)/namespaces/(?P<namespace>[^/]+)/(?P<kind>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>[a-z]+))?"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass
class Cluster:
    """What the server knows, and what it was asked.

    Attributes:
        objects: By kind and name.
        asked: Every request as RBAC sees it: group, resource, verb.
        namespaces: Those that were named.
        logs: What pods have printed.
    """

    objects: dict = field(default_factory=lambda: {"jobs": {}, "pods": {}, "events": {}})
    asked: set = field(default_factory=set)
    namespaces: set = field(default_factory=set)
    logs: str = ""

    @property
    def jobs(self):
        """The Jobs that are there, by name."""
        return self.objects["jobs"]

    def add_pod(self, name, job="", phase="Running"):
        """A pod, perhaps of a Job; its one container has started, and has ended unless it runs."""
        state = {"running": {}} if phase == "Running" else {"terminated": {"exitCode": 1}}
        container = {"name": "dagster", "image": "", "imageID": "", "ready": True, "restartCount": 0, "state": state}
        self.objects["pods"][name] = {
            "metadata": {"name": name, "namespace": "churn-mlops", "labels": {"job-name": job}},
            "spec": {"containers": [{"name": "dagster"}]},
            "status": {"phase": phase, "containerStatuses": [container]},
        }

    def answer(self, method, path, query, body):
        """The answer to a request: status and content."""
        parts = PATH.fullmatch(path)
        if parts is None:
            return 404, {"kind": "Status", "code": 404}
        kind, name, part = parts["kind"], parts["name"], parts["part"]
        verb = VERBS.get(method) or ("get" if name else "list")
        self.asked.add((parts["group"] or "", f"{kind}/{part}" if part else kind, verb))
        self.namespaces.add(parts["namespace"])
        if verb == "create":
            return self._create(kind, body)
        if verb == "list":
            return self._list(kind, query)
        return self._one(verb, kind, name, part)

    def _create(self, kind, body):
        self.objects[kind][body["metadata"]["name"]] = body
        return 201, body

    def _list(self, kind, query):
        wanted = [one.split("=") for one in query.get("labelSelector", "").split(",") if one]
        there = self.objects[kind].values()
        return 200, {"items": [o for o in there if all(o["metadata"]["labels"].get(k) == v for k, v in wanted)]}

    def _one(self, verb, kind, name, part):
        there = self.objects[kind]
        if name not in there:
            return 404, {"kind": "Status", "code": 404, "reason": "NotFound"}
        if part == "log":
            return 200, self.logs
        if verb == "delete":
            there.pop(name)
            return 200, {"kind": "Status", "status": "Success"}
        return 200, there[name]


@contextmanager
def served(cluster):
    """Serve a cluster; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self):
            url = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(url.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = cluster.answer(self.command, url.path, query, json.loads(body) if body else None)
            is_text = isinstance(content, str)
            encoded = content.encode() if is_text else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if is_text else "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = _serve  # noqa: N815 - so they are called

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def kubeconfig(path, url):
    """Write the file by which a client finds the server."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": url}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "nobody"}}],
        "current-context": "fake",
    }
    path.write_text(yaml.safe_dump(content))
    return path

"""From a corrupted model to a message: the service, Prometheus, Alertmanager and whoever is told are all real."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from http_world import until
from towers import Alertmanager, Prometheus
from watched_world import watched_service


class Inbox:
    """Takes Alertmanager's messages on the loopback, a path for each receiver."""

    def __init__(self):
        self.messages = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self._server.server_address[1]}/{path}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def alerts(self, receiver, status):
        """The alerts of a receiver's messages, by name; each as it came first."""
        told = [alert for path, message in list(self.messages) if path == receiver for alert in message["alerts"]]
        return {alert["labels"]["alertname"]: alert for alert in reversed(told) if alert["status"] == status}

    def _handler(self):
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                content = self.rfile.read(int(self.headers["Content-Length"]))
                inbox.messages.append((self.path.strip("/"), json.loads(content)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_args):
                pass

        return Handler


@pytest.fixture
def inbox():
    found = Inbox()
    yield found
    found.close()


def test_a_corrupted_model_is_told_to_a_person_and_so_is_its_repair(tmp_path_factory, inbox):
    folder = tmp_path_factory.mktemp
    addresses = {name: inbox.url(name) for name in ("tell", "page", "watchdog")}
    with (
        watched_service(folder("service")) as service,
        Alertmanager(folder("alertmanager"), addresses) as manager,
        Prometheus(folder("prometheus"), service.port, manager.port, patience="0s") as prometheus,
    ):
        until(lambda: "ChurnWatchdog" in inbox.alerts("watchdog", "firing"), 30.0, "the watchdog's message")
        until(lambda: prometheus.has("churn_model_reload_refused == 0"), 30.0, "a first scrape")
        good = service.world.alias.read_bytes()
        service.world.put(b"not a model")
        told = until(lambda: inbox.alerts("page", "firing").get("ChurnModelRefused"), 30.0, "a message")
        assert told["labels"]["severity"] == "critical"
        assert "serve the last good model: 1." in told["annotations"]["description"]
        assert told["annotations"]["runbook_url"] == "deployment/RUNBOOK.md#2-corrupted-model"
        assert "ChurnModelRefused" not in inbox.alerts("tell", "firing")
        service.world.put(good)
        until(lambda: "ChurnModelRefused" in inbox.alerts("page", "resolved"), 30.0, "the message that it is mended")

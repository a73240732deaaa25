"""A webhook receiver on the loopback."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Takes messages over HTTP and keeps them.

    Args:
        status: What it answers.
        seconds: How long it takes to answer.
    """

    def __init__(self, status=200, seconds=0.0):
        self.status = status
        self.seconds = seconds
        self.received = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def url(self, path="", query=""):
        """Its address for Apprise."""
        return f"json://127.0.0.1:{self._server.server_address[1]}/{path}{query}"

    def __str__(self):
        return self.url()

    @property
    def titles(self):
        """Titles of what came, in order."""
        return [message["title"] for message in self.received]

    def close(self):
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler_of(receiver):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            receiver.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            time.sleep(receiver.seconds)
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *_args):
            pass

    return Handler

"""Front of the vote: takes votes, and puts them into the queue on its own node."""
import json
import socket
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import redis
from page import Page

QUEUE = redis.Redis(unix_socket_path="/queue/redis.sock")


class Front(Page):
    def do_GET(self):
        self.answer(200, f"<h1>Cats or dogs?</h1><p>Answered by {socket.gethostname()}</p>\n", "text/html")

    def do_POST(self):
        vote = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        try:
            # The queue writes to its disk before it answers: what is acknowledged outlives a restart of the task.
            QUEUE.lpush("votes", json.dumps({"id": vote["id"], "choice": vote["choice"]}))
            self.answer(200, "queued\n")
        except (KeyError, redis.RedisError) as error:
            self.answer(503, f"not queued: {error}\n")


ThreadingHTTPServer(("", 8000), Front).serve_forever()

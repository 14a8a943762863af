"""The parts of the backend; the first word says which. The API names those that work at the moment."""
import os
import sys
import time
from http.server import ThreadingHTTPServer

import redis
from page import Page

QUEUE = redis.Redis(os.environ["_APP_REDIS_HOST"], int(os.environ["_APP_REDIS_PORT"]), socket_timeout=3)


class Api(Page):
    def do_GET(self):
        try:
            parts = sorted(key.decode().removeprefix("works:") for key in QUEUE.keys("works:*"))
            self.answer(200, f"{os.environ['_APP_NAME']}: {' '.join(parts)}\n")
        except redis.RedisError as error:
            self.answer(503, f"no answer of the queue: {error}\n")


def work(part):
    while True:
        try:
            QUEUE.set(f"works:{part}", os.environ["_APP_ENV"], ex=30)
        except redis.RedisError as error:
            print(f"tries again: {error}", flush=True)
        time.sleep(float(os.environ["_APP_MAINTENANCE_INTERVAL"]))


if sys.argv[1] == "api":
    ThreadingHTTPServer(("", 8000), Api).serve_forever()
work(sys.argv[1])

"""What the pages have in common: a whole answer, and no log of requests."""
from http.server import BaseHTTPRequestHandler


class Page(BaseHTTPRequestHandler):
    def answer(self, status, text, kind="text/plain"):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

"""The results: how many votes were counted for what, and with /results/ids which."""
import socket
from html import escape
from http.server import ThreadingHTTPServer

import psycopg2
from page import Page

CHOICES = {"cats": "Cats", "dogs": "Dogs"}
HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Cats or dogs?</title>
<style>
body {{ margin: 0; padding: 36px 44px; background: #f6f7f9; color: #1d2733; font: 16px/1.4 "DejaVu Sans", sans-serif }}
main {{ max-width: 640px; margin: auto; padding: 28px 36px 24px; background: #fff; border: 1px solid #dde2e8; border-radius: 10px }}
h1 {{ margin: 0; font-size: 28px }}
.total {{ margin: 2px 0 24px; color: #5b6875 }}
.total b {{ color: #1d2733 }}
.row {{ display: flex; justify-content: space-between; margin: 16px 0 6px }}
.bar {{ height: 22px; border-radius: 5px; background: #e9edf1 }}
.bar div {{ height: 100%; border-radius: 5px }}
.cats {{ background: #d9822b }}
.dogs {{ background: #2b6cb0 }}
footer {{ margin-top: 26px; padding-top: 14px; border-top: 1px solid #e9edf1; color: #5b6875; font-size: 13px }}
</style>
<main>
<h1>Cats or dogs?</h1>
<p class="total"><b>{total}</b> votes counted</p>
{rows}
<footer>Highest number {highest} &middot; counted by {host}</footer>
</main>
</html>
"""
ROW = """<div class="row"><span>{label}</span><span><b>{votes}</b> &middot; {share:.1f} %</span></div>
<div class="bar"><div class="{choice}" style="width: {share:.1f}%"></div></div>"""


def counted():
    with open("/run/secrets/db-password", encoding="utf-8") as file:
        password = file.read().strip()
    database = psycopg2.connect(host="db", user="postgres", dbname="votes", password=password, connect_timeout=3)
    try:
        with database.cursor() as cursor:
            cursor.execute("SELECT id, choice FROM votes")
            return cursor.fetchall()
    finally:
        database.close()


def page(votes):
    rows = []
    for choice, label in CHOICES.items():
        number = sum(chosen == choice for _, chosen in votes)
        share = 100 * number / max(len(votes), 1)
        rows.append(ROW.format(label=label, votes=f"{number:,}", share=share, choice=choice))
    highest = escape(max((vote for vote, _ in votes), default="none"))
    return HTML.format(total=f"{len(votes):,}", rows="\n".join(rows), highest=highest, host=socket.gethostname())


class Results(Page):
    def do_GET(self):
        try:
            votes = counted()
            if self.path == "/results/ids":
                self.answer(200, "".join(f"{vote}\n" for vote, _ in votes))
            else:
                self.answer(200, page(votes), "text/html")
        except psycopg2.Error as error:
            self.answer(503, f"no results: {error}\n")


ThreadingHTTPServer(("", 8000), Results).serve_forever()

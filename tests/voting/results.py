"""The results: how many votes were counted, and with /results/ids which."""
import json
from http.server import ThreadingHTTPServer

import psycopg2
from page import Page


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


class Results(Page):
    def do_GET(self):
        try:
            votes = counted()
            if self.path == "/results/ids":
                self.answer(200, "".join(f"{vote}\n" for vote, _ in votes))
            else:
                by_choice = {}
                for _, choice in votes:
                    by_choice[choice] = by_choice.get(choice, 0) + 1
                self.answer(200, json.dumps({"votes": len(votes), "by_choice": by_choice}) + "\n")
        except psycopg2.Error as error:
            self.answer(503, f"no results: {error}\n")


ThreadingHTTPServer(("", 8000), Results).serve_forever()

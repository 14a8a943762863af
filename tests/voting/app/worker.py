"""Moves votes from the queue on its node to the database. Votes leave the queue once they are committed."""
import json
import time

import psycopg2
import redis

TABLE = "CREATE TABLE IF NOT EXISTS votes (id text PRIMARY KEY, choice text NOT NULL)"
INSERT = "INSERT INTO votes VALUES (%(id)s, %(choice)s) ON CONFLICT DO NOTHING"


def connect():
    with open("/run/secrets/db-password", encoding="utf-8") as file:
        password = file.read().strip()
    database = psycopg2.connect(host="db", user="postgres", dbname="votes", password=password, connect_timeout=3)
    with database, database.cursor() as cursor:
        cursor.execute(TABLE)
    return database


def take(queue):
    """Takes some votes at once, so that they share a commit; waits for the first."""
    first = queue.brpoplpush("votes", "taken", timeout=5)
    if not first:
        return []
    with queue.pipeline() as more:
        for _ in range(99):
            more.rpoplpush("votes", "taken")
        return [first, *filter(None, more.execute())]


def move(queue, database):
    # Those that were taken by a worker that ended are taken again first.
    while votes := queue.lrange("taken", 0, -1) or take(queue):
        with database, database.cursor() as cursor:
            cursor.executemany(INSERT, map(json.loads, votes))
        with queue.pipeline() as moved:
            for vote in votes:
                moved.lrem("taken", 1, vote)
            moved.execute()


while True:
    try:
        with_queue, with_database = redis.Redis(unix_socket_path="/queue/redis.sock"), connect()
        while True:
            move(with_queue, with_database)
    except (psycopg2.Error, redis.RedisError) as error:
        print(f"begins again: {error}", flush=True)
        time.sleep(0.5)

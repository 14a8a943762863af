"""Moves votes from the queue on its node to the database. A vote leaves the queue once it is committed."""
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


def move(queue, database):
    # One that was taken by a worker that ended is taken again first.
    while vote := queue.lindex("taken", -1) or queue.brpoplpush("votes", "taken", timeout=5):
        with database, database.cursor() as cursor:
            cursor.execute(INSERT, json.loads(vote))
        queue.lrem("taken", 1, vote)


while True:
    try:
        with_queue, with_database = redis.Redis(unix_socket_path="/queue/redis.sock"), connect()
        while True:
            move(with_queue, with_database)
    except (psycopg2.Error, redis.RedisError) as error:
        print(f"begins again: {error}", flush=True)
        time.sleep(0.5)

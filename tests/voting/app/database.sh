#!/bin/sh -eu
# Makes the database on first use; runs it.
bin=$(echo /usr/lib/postgresql/*/bin)
run() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
install -d -o postgres -g postgres /run/postgresql
chown postgres /data
if [ ! -e /data/db ]; then
    install -m 600 -o postgres /run/secrets/db-password /tmp/password
    rm -rf /data/new
    run "$bin/initdb" --auth-local=trust --auth-host=scram-sha-256 --pwfile=/tmp/password -D /data/new >/dev/null
    rm /tmp/password
    echo 'host all all all scram-sha-256' >>/data/new/pg_hba.conf
    run "$bin/pg_ctl" -w -D /data/new start -o '-c listen_addresses=' >/dev/null
    run createdb votes
    run "$bin/pg_ctl" -w -D /data/new stop >/dev/null
    mv /data/new /data/db
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups "$bin/postgres" -D /data/db -c listen_addresses='*'

#!/usr/bin/env bash
# psycopg_pool 3.2.6 with psycopg 3.2.9 on PostgreSQL 15 (Debian's 15.18), seen 2026-11-30.
#
# One would expect: a pool whose URL has target_session_attrs=read-write, and that checks each connection before
# it hands it out (check=ConnectionPool.check_connection), hands out connections that take writes.
#
# What happens instead: the attribute is looked at once, when libpq connects. When the server turns read-only under
# its sessions, as a primary does that is being demoted by its provider, the check passes, every write fails with
# 25006, and pool.check() replaces none, though the same URL refuses a new connection. It lasts until max_lifetime:
# an hour by default.
#
#   new connection: OperationalError: session is read-only
#   pooled: 20 of 20 writes failed with 25006; connections replaced by the pool: 0
#
# Hurt: services that name read-write in their URL to be safe in a failover. They have to throw a connection away
# themselves when a write returns 25006.
set -euo pipefail
work=$(mktemp -d)
server=
finish() {
    if [ -n "$server" ]; then kill -INT "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.2.9' psycopg-pool==3.2.6
programs=$(dirname "$(find /usr/lib/postgresql -name initdb | sort -V | tail -n 1)")
as=()
if [ "$(id -u)" = 0 ]; then
    as=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    mkdir "$work/server" && chown postgres "$work/server" && chmod a+rx "$work"
else
    mkdir "$work/server"
fi
"${as[@]}" "$programs/initdb" -D "$work/server/data" -U me --auth=trust --no-sync >/dev/null
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"${as[@]}" "$programs/postgres" -D "$work/server/data" -k "$work/server" -p "$port" \
    -c listen_addresses=127.0.0.1 -c fsync=off 2>"$work/log" &
server=$!
until "$programs/pg_isready" -q -h 127.0.0.1 -p "$port"; do kill -0 "$server"; done
"$work/venv/bin/python" - "$port" <<'PYTHON'
import logging, sys
import psycopg
from psycopg_pool import ConnectionPool

logging.disable(logging.WARNING)
plain = f"host=127.0.0.1 port={sys.argv[1]} user=me dbname=postgres"
url = plain + " target_session_attrs=read-write"
with psycopg.connect(plain, autocommit=True) as admin:
    admin.execute("CREATE TABLE orders (id int)")
    with ConnectionPool(url, min_size=4, max_size=4, check=ConnectionPool.check_connection) as pool:
        pool.wait()
        pids = lambda: {row[0] for row in admin.execute(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")}
        before = pids()
        with pool.connection() as connection:
            connection.execute("INSERT INTO orders VALUES (1)")
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        while True:
            with psycopg.connect(plain) as probe:
                if probe.execute("SHOW transaction_read_only").fetchone() == ("on",):
                    break
        try:
            psycopg.connect(url).close()
            fresh = "accepted"
        except psycopg.OperationalError as error:
            fresh = "session is read-only" if "session is read-only" in str(error) else str(error)
        failed = 0
        for _ in range(20):
            pool.check()
            try:
                with pool.connection() as connection:
                    connection.execute("INSERT INTO orders VALUES (1)")
            except psycopg.errors.ReadOnlySqlTransaction:
                failed += 1
        replaced = len(before - pids())
        print(f"new connection: {fresh}")
        print(f"pooled: {failed} of 20 writes failed with 25006; connections replaced by the pool: {replaced}")
        sys.exit(0 if (fresh, failed, replaced) == ("session is read-only", 20, 0) else 1)
PYTHON

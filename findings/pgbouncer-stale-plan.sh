#!/usr/bin/env bash
# PgBouncer 1.24.1 (Debian 13) in transaction mode, psycopg 3.2.9, PostgreSQL 15 (Debian's 15.18), seen 2026-11-30.
#
# One would expect: after a migration adds a column, a prepared "SELECT *" fails once on each connection with "cached
# plan must not change result type", and a new connection, which has prepared nothing, is well.
#
# What happens instead: PgBouncer since 1.21 keeps one prepared statement for all clients that send the same text, so a
# client that has just connected gets the plan of before the migration as well. Reconnecting mends nothing: the text
# fails for everybody until the pooler's own connection ends (server_lifetime: an hour) or RECONNECT is run on its console.
#
#   directly: the old connection fails, a new one is well
#   through PgBouncer: the old connection fails, 10 of 10 new ones fail; after RECONNECT a new one is well
#
# Hurt: whoever throws connections away after that error, as poolless clients and driver pools do, and sees a rollout
# fail for an hour. Columns that are named avoid it.
set -euo pipefail
work=$(mktemp -d)
processes=()
finish() {
    for process in "${processes[@]}"; do kill -INT "$process" 2>/dev/null || true; wait "$process" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.2.9'
chmod a+rx "$work"
mkdir "$work/server"
as=()
if [ "$(id -u)" = 0 ]; then
    as=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    chown postgres "$work/server"
fi

# The pooler of Debian 13, with its libraries where this machine's is older.
pgbouncer=(pgbouncer)
if ! PATH=$PATH:/usr/sbin pgbouncer --version 2>/dev/null | grep -qE '^PgBouncer 1\.(2[1-9]|[3-9])'; then
    mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/debs" "$work/root"
    touch "$work/apt/status"
    echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main' >"$work/apt/sources"
    options=(-qq -o Dir::State::lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" -o APT::Sandbox::User=root
        -o Dir::Cache="$work/apt/cache" -o Dir::Etc::sourcelist="$work/apt/sources" -o Dir::Etc::sourceparts=/dev/null)
    apt-get "${options[@]}" update
    (cd "$work/debs" && apt-get "${options[@]}" download pgbouncer libaudit1 libc6 libcap-ng0 libcap2 libcares2 \
        libevent-2.1-7t64 libldap2 libpam0g libsasl2-2 libssl3t64 libsystemd0 libzstd1 2>/dev/null >&2)
    for package in "$work"/debs/*.deb; do dpkg-deb --extract "$package" "$work/root"; done
    libraries=$(dirname "$(find "$work/root/usr/lib" -name 'ld-linux-*')")
    pgbouncer=("$libraries"/ld-linux-* --library-path "$libraries" "$work/root/usr/sbin/pgbouncer")
fi

free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
programs=$(dirname "$(find /usr/lib/postgresql -name initdb | sort -V | tail -n 1)")
"${as[@]}" "$programs/initdb" -D "$work/server/data" -U me --auth=trust --no-sync >/dev/null
port=$(free)
"${as[@]}" "$programs/postgres" -D "$work/server/data" -k "$work/server" -p "$port" \
    -c listen_addresses=127.0.0.1 -c fsync=off 2>"$work/log" &
processes+=($!)
until "$programs/pg_isready" -q -h 127.0.0.1 -p "$port"; do kill -0 "${processes[0]}"; done
pooler=$(free)
echo '"me" ""' >"$work/users"
cat >"$work/pgbouncer.ini" <<INI
[databases]
* = host=127.0.0.1 port=$port
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pooler
unix_socket_dir =
auth_type = trust
auth_file = $work/users
admin_users = me
pool_mode = transaction
default_pool_size = 1
INI
"${as[@]}" "${pgbouncer[@]}" "$work/pgbouncer.ini" 2>"$work/pooler.log" &
processes+=($!)
until "$programs/pg_isready" -q -h 127.0.0.1 -p "$pooler"; do kill -0 "${processes[1]}"; done

"$work/venv/bin/python" - "$port" "$pooler" <<'PYTHON'
import sys
import psycopg

direct, pooled = (f"host=127.0.0.1 port={port} user=me dbname=postgres" for port in sys.argv[1:])
connect = lambda url: psycopg.connect(url, autocommit=True, prepare_threshold=0)
admin = connect(direct)
admin.execute("CREATE TABLE orders (id int)")
columns = 0

def fails(connection):
    try:
        connection.execute("SELECT * FROM orders").fetchall()
        return False
    except psycopg.errors.FeatureNotSupported as error:
        assert "cached plan must not change result type" in str(error), error
        return True

def migrate():
    global columns
    columns += 1
    admin.execute(f"ALTER TABLE orders ADD COLUMN c{columns} int")

old = connect(direct)
assert not fails(old)
migrate()
direct_old, direct_new = fails(old), fails(connect(direct))
print(f"directly: the old connection {'fails' if direct_old else 'is well'}, a new one {'fails' if direct_new else 'is well'}")

old = connect(pooled)
assert not fails(old)
migrate()
pooled_old = fails(old)
pooled_new = sum(fails(connect(pooled)) for _ in range(10))
with psycopg.ClientCursor(connect(pooled.replace("dbname=postgres", "dbname=pgbouncer"))) as console:
    console.execute("RECONNECT")
after = fails(connect(pooled))
print(f"through PgBouncer: the old connection {'fails' if pooled_old else 'is well'}, {pooled_new} of 10 new ones fail; "
      f"after RECONNECT a new one {'fails' if after else 'is well'}")
sys.exit(0 if (direct_old, direct_new, pooled_old, pooled_new, after) == (True, False, True, 10, False) else 1)
PYTHON

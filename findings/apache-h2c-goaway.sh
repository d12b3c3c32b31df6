#!/usr/bin/env bash
# Apache httpd's mod_proxy_http2 puts a connection back into its pool that has received a GOAWAY, and answers the next
# request with 502.
#
# Software: Apache 2.4.71 with mod_proxy_http2 2.0.42 (Debian 12), in front of a server on PyPI's h2 4.4.1.
# Expected: after `GOAWAY(NO_ERROR)`, which is how HTTP/2 servers close a connection in order (RFC 9113, 6.8), a proxy sends
#   its next request on a new connection.
# Instead: the next request is submitted to the old connection, not sent, and answered with 502. The one after that is fine.
# Who is hurt: everybody who restarts a gRPC or h2c service behind Apache, or whose service has an idle timeout.
#
# Seen 2026-11-30: "request 1: 200, request 2: 502, request 3: 200"; the server got requests 1 and 3.
#
# Exits with 0 while this holds.
set -euo pipefail

command -v apache2 >/dev/null || { echo "needs apache2 (apt-get install apache2)" >&2; exit 2; }
folder=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap cleanup EXIT

# Waits until something listens.
listens() { until (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do sleep 0.1; done; }
apache2 -v | head -n 1
python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check h2==4.4.1

# Two free ports.
read -r server proxy < <(python3 - <<'PYTHON'
import socket
sockets = [socket.socket() for _ in range(2)]
for it in sockets: it.bind(("127.0.0.1", 0))
print(*[it.getsockname()[1] for it in sockets])
PYTHON
)

# Sends GOAWAY with its first answer, and leaves the connection open.
cat >"$folder/server.py" <<'PYTHON'
import socket, sys, threading, time
import h2.config, h2.connection, h2.events

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
requests = 0

def serve(stream):
    global requests
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    http.initiate_connection()
    stream.sendall(http.data_to_send())
    while data := stream.recv(65536):
        for event in http.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                path = dict(event.headers)[b":path"].decode()
                print("server got", path, flush=True)
                goodbye = b""
                requests += 1
                if requests == 1:
                    # The first half of an orderly end: 2^31-1 as the last stream, and a PING whose answer would tell that
                    # the client knows. GOAWAY is a frame by hand, since h2 would end the connection with it.
                    goodbye = b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\0"
                    http.ping(b"goodbye!")
                time.sleep(0.05)
                http.send_headers(event.stream_id, [(":status", "200"), ("content-length", "2")])
                http.send_data(event.stream_id, b"ok", end_stream=True)
                stream.sendall(goodbye + http.data_to_send())
        stream.sendall(http.data_to_send())

while True:
    stream, _ = listener.accept()
    threading.Thread(target=serve, args=(stream,), daemon=True).start()
PYTHON
"$folder/python/bin/python" "$folder/server.py" "$server" >"$folder/server.log" &
pids+=($!)
listens "$server"

{
  for module in mpm_event authz_core proxy proxy_http2; do
    echo "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"
  done
  cat <<CONFIG
ServerRoot $folder
DefaultRuntimeDir $folder
ServerName localhost
PidFile $folder/pid
ErrorLog $folder/error.log
User www-data
Group www-data
Listen 127.0.0.1:$proxy
ServerLimit 1
MaxRequestWorkers 25
StartServers 1
ProxyPass / h2c://127.0.0.1:$server/
CONFIG
} >"$folder/apache.conf"
apache2 -D FOREGROUND -f "$folder/apache.conf" &
pids+=($!)
listens "$proxy"

python3 - "$proxy" <<'PYTHON' | tee "$folder/seen"
import http.client, sys, time
client, seen = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10), []
for number in (1, 2, 3):
    client.request("GET", f"/{number}")
    answer = client.getresponse()
    answer.read()
    seen.append(f"request {number}: {answer.status}")
    time.sleep(0.3)
print(", ".join(seen))
PYTHON
cat "$folder/server.log"
[ "$(cat "$folder/seen")" = "request 1: 200, request 2: 502, request 3: 200" ]

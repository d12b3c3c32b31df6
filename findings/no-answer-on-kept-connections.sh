#!/usr/bin/env bash
# The same failure of a server is a 502 or no answer at all from HAProxy and Apache httpd: it depends on whether the client
# has used its connection before.
#
# Software: HAProxy 2.6.12 and Apache 2.4.71 (Debian 12); beside them nginx 1.22.1. The server is Python's.
# Expected: a server that reads a whole POST and closes its connection without an answer makes a gateway say 502 (RFC 9110,
#   15.6.3), whatever connection the client uses; so 502s of the gateway count what fails.
# Instead: on a client's first request it is 502. On a later request over the same client connection HAProxy and Apache, if
#   they took a connection to the server from their pool, close the client's connection without a byte, so that it looks like
#   a kept connection that went stale. nginx answers 502 in both cases.
# Who is hurt: alerts on 5xx see nothing; clients that take the close for a stale connection send the POST a second time,
#   although the server has read it.
#
# Seen 2026-11-30: "haproxy first 502, later none; apache first 502, later none; nginx first 502, later 502"
#
# Exits with 0 while this holds.
set -euo pipefail

for program in haproxy apache2 nginx; do
  command -v "$program" >/dev/null || { echo "needs $program (apt-get install $program)" >&2; exit 2; }
done
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
haproxy -v | head -n 1
apache2 -v | head -n 1
nginx -v

read -r server haproxy apache nginx < <(python3 - <<'PYTHON'
import socket
sockets = [socket.socket() for _ in range(4)]
for it in sockets: it.bind(("127.0.0.1", 0))
print(*[it.getsockname()[1] for it in sockets])
PYTHON
)

# Keeps connections, but closes one for each POST that it has read.
cat >"$folder/server.py" <<'PYTHON'
import http.server, sys

class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.close_connection = True

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Server).serve_forever()
PYTHON
python3 "$folder/server.py" "$server" &
pids+=($!)
listens "$server"

cat >"$folder/haproxy.cfg" <<CONFIG
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend web
    bind 127.0.0.1:$haproxy
    default_backend server
backend server
    server a 127.0.0.1:$server
CONFIG
haproxy -db -f "$folder/haproxy.cfg" &
pids+=($!)

{
  for module in mpm_event authz_core proxy proxy_http; do
    echo "LoadModule ${module}_module /usr/lib/apache2/modules/mod_$module.so"
  done
  cat <<CONFIG
ServerRoot $folder
DefaultRuntimeDir $folder
ServerName localhost
PidFile $folder/apache.pid
ErrorLog $folder/apache.log
User www-data
Group www-data
Listen 127.0.0.1:$apache
ServerLimit 1
MaxRequestWorkers 25
StartServers 1
ProxyPass / http://127.0.0.1:$server/
CONFIG
} >"$folder/apache.conf"
apache2 -D FOREGROUND -f "$folder/apache.conf" &
pids+=($!)

cat >"$folder/nginx.conf" <<CONFIG
daemon off; master_process off; pid $folder/nginx.pid; error_log $folder/nginx.log;
events {}
http {
  access_log off;
  client_body_temp_path $folder/a; proxy_temp_path $folder/b; fastcgi_temp_path $folder/c;
  uwsgi_temp_path $folder/d; scgi_temp_path $folder/e;
  upstream server { server 127.0.0.1:$server max_fails=0; keepalive 4; }
  server {
    listen 127.0.0.1:$nginx;
    location / { proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
CONFIG
nginx -e stderr -c "$folder/nginx.conf" &
pids+=($!)
listens "$haproxy"
listens "$apache"
listens "$nginx"

cat >"$folder/client.py" <<'PYTHON'
import http.client, sys

def ask(client, method):
    try:
        client.request(method, "/", b"tea" if method == "POST" else None)
        answer = client.getresponse()
        answer.read()
        return str(answer.status)
    except http.client.RemoteDisconnected:
        return "none"

def connect(port):
    return http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)

seen = []
for name, port in (it.split("=") for it in sys.argv[1:]):
    first = ask(connect(port), "POST")
    client = connect(port)
    assert ask(client, "GET") == "200"
    seen.append(f"{name} first {first}, later {ask(client, 'POST')}")
print("; ".join(seen))
PYTHON
python3 "$folder/client.py" "haproxy=$haproxy" "apache=$apache" "nginx=$nginx" | tee "$folder/seen"
[ "$(cat "$folder/seen")" = "haproxy first 502, later none; apache first 502, later none; nginx first 502, later 502" ]

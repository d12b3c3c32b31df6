#!/usr/bin/env bash
# nginx holds server-sent events back because of `proxy_http_version`, not because of `proxy_buffering` alone.
#
# Software: nginx 1.22.1 (Debian 12), in front of Python's http.server.
# Expected: with `proxy_buffering on`, the default, events wait until a buffer is full or the answer ends; so every guide says
#   `proxy_buffering off` or `X-Accel-Buffering: no`.
# Instead: that is so with HTTP/1.0 to the upstream (the default before 1.29.7), whose answers have no chunks. With
#   `proxy_http_version 1.1` each event of a chunked answer passes at once, with the same buffers. `gzip on` for the type
#   holds them back again, unless buffering is off.
# Who is hurt: whoever sets `proxy_buffering off` for a whole site, so that slow clients hold the upstream's connections; and
#   whoever adds gzip later.
#
# Seen 2026-11-30, reads that brought 5 events sent 0.2 s apart:
#   default 1, http11 5, http11+gzip 1, http11+gzip+unbuffered 5
#
# Exits with 0 while this holds.
set -euo pipefail

command -v nginx >/dev/null || { echo "needs nginx (apt-get install nginx)" >&2; exit 2; }
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
nginx -v

read -r server default http11 gzip unbuffered < <(python3 - <<'PYTHON'
import socket
sockets = [socket.socket() for _ in range(5)]
for it in sockets: it.bind(("127.0.0.1", 0))
print(*[it.getsockname()[1] for it in sockets])
PYTHON
)

cat >"$folder/server.py" <<'PYTHON'
import http.server, sys, time

class Events(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        chunked = self.request_version == "HTTP/1.1"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked") if chunked else self.send_header("Connection", "close")
        self.end_headers()
        for number in range(5):
            event = b"data: %d\n\n" % number
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event) if chunked else event)
            time.sleep(0.2)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Events).serve_forever()
PYTHON
python3 "$folder/server.py" "$server" &
pids+=($!)
listens "$server"

upstream="proxy_pass http://127.0.0.1:$server;"
compressed="gzip on; gzip_types text/event-stream; gzip_proxied any;"
cat >"$folder/nginx.conf" <<CONFIG
daemon off; master_process off; pid $folder/pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path $folder/a; proxy_temp_path $folder/b; fastcgi_temp_path $folder/c;
  uwsgi_temp_path $folder/d; scgi_temp_path $folder/e;
  server { listen 127.0.0.1:$default;    location / { $upstream } }
  server { listen 127.0.0.1:$http11;     location / { $upstream proxy_http_version 1.1; } }
  server { listen 127.0.0.1:$gzip;       location / { $upstream proxy_http_version 1.1; $compressed } }
  server { listen 127.0.0.1:$unbuffered; location / { $upstream proxy_http_version 1.1; $compressed proxy_buffering off; } }
}
CONFIG
nginx -e stderr -c "$folder/nginx.conf" &
pids+=($!)
listens "$default"

cat >"$folder/client.py" <<'PYTHON'
import http.client, sys, zlib

def reads(port):
    client = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
    client.request("GET", "/", headers={"Accept-Encoding": "gzip"})
    answer = client.getresponse()
    assert answer.status == 200, answer.status
    plain = zlib.decompressobj(31).decompress if answer.headers["Content-Encoding"] == "gzip" else bytes
    brought = 0
    while part := answer.read1(65536):
        brought += b"data:" in plain(part)
    return brought

print(", ".join(f"{name} {reads(port)}" for name, port in (it.split("=") for it in sys.argv[1:])))
PYTHON
python3 "$folder/client.py" "default=$default" "http11=$http11" "http11+gzip=$gzip" "http11+gzip+unbuffered=$unbuffered" \
  | tee "$folder/seen"
[ "$(cat "$folder/seen")" = "default 1, http11 5, http11+gzip 1, http11+gzip+unbuffered 5" ]

#!/usr/bin/env bash
# nginx that listens on a Unix socket appends `unix:` to X-Forwarded-For, which no reader takes for an address.
#
# Software: nginx 1.22.1 (Debian 12), twice, in front of Python's http.server: as behind a local load balancer or a sidecar.
# Expected: the peer of a Unix socket has no address, so the inner nginx passes on the outer one's X-Forwarded-For.
# Instead: `$proxy_add_x_forwarded_for`, which every guide has, makes it `CLIENT, unix:`. Read from the right, as one should, its
#   last entry is not an address: the backend that trusts its proxy stops there and never gets to the client. `X-Real-IP
#   $remote_addr` is `unix:` alone. With `set_real_ip_from unix:` and `real_ip_header X-Forwarded-For` the last entry is the
#   client's address, for the second time.
# Who is hurt: services whose log, rate limit or allow list is by client, as soon as a proxy moves from a port to a Unix socket.
#
# Seen 2026-11-30:
#   add=198.51.100.7, unix: real=unix: realip=198.51.100.7, 198.51.100.7
#
# Exits with 0 while this holds.
set -euo pipefail

command -v nginx >/dev/null || { echo "needs nginx (apt-get install nginx)" >&2; exit 2; }
folder=$(mktemp -d)
chmod 755 "$folder"
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap cleanup EXIT
nginx -v

cat >"$folder/server.py" <<'PYTHON'
import http.server, os, socketserver, sys

class Show(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write((self.headers[self.path[1:]] or "").encode())

    def log_message(self, *_):
        pass

    # The peer has no address.
    def address_string(self):
        return ""

socketserver.UnixStreamServer(sys.argv[1], Show).serve_forever()
PYTHON
python3 "$folder/server.py" "$folder/backend" &
pids+=($!)
# Waits until it listens.
until [ -S "$folder/backend" ]; do sleep 0.1; done

forward="proxy_set_header X-Forwarded-For \$proxy_add_x_forwarded_for; proxy_set_header X-Real-IP \$remote_addr;"
cat >"$folder/nginx.conf" <<CONFIG
daemon off; master_process off; pid $folder/pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path $folder/a; proxy_temp_path $folder/b; fastcgi_temp_path $folder/c;
  uwsgi_temp_path $folder/d; scgi_temp_path $folder/e;
  server { listen unix:$folder/plain;  location / { proxy_pass http://unix:$folder/backend:; $forward } }
  server { listen unix:$folder/realip; location / { proxy_pass http://unix:$folder/backend:; $forward
    set_real_ip_from unix:; real_ip_header X-Forwarded-For; } }
}
CONFIG
nginx -e stderr -c "$folder/nginx.conf" &
pids+=($!)
until [ -S "$folder/realip" ]; do sleep 0.1; done
sleep 1

# The outer proxy's request.
ask() {
  curl --silent --unix-socket "$folder/$1" \
    --header "X-Forwarded-For: 198.51.100.7" "http://localhost/$2"
}
seen="add=$(ask plain X-Forwarded-For) real=$(ask plain X-Real-IP) realip=$(ask realip X-Forwarded-For)"
echo "$seen"
[ "$seen" = "add=198.51.100.7, unix: real=unix: realip=198.51.100.7, 198.51.100.7" ]

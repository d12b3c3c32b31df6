#!/usr/bin/env bash
# Requests /health/readiness through a Service, like a caller inside the cluster: exit code 0 if the response is 200.
# usage: scripts/readiness.sh [--namespace=NAME] SERVICE
set -Eeuo pipefail
[ $# -ge 1 ] || { echo "usage: $0 [--namespace=NAME] SERVICE" >&2; exit 64; }

log=$(mktemp)
forward=
cleanup() {
  if [ -n "$forward" ]; then kill "$forward" 2>/dev/null || true; fi
  rm -f "$log"
}
trap cleanup EXIT

kubectl "${@:1:$#-1}" port-forward --address=127.0.0.1 "service/${!#}" :80 >"$log" 2>&1 &
forward=$!
port=
for _ in $(seq 100); do
  port=$(sed -n 's/^Forwarding from 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$log")
  if [ -n "$port" ] || ! kill -0 "$forward" 2>/dev/null; then break; fi
  sleep 0.1
done
if [ -z "$port" ]; then
  echo "no way to the Service: $(cat "$log")" >&2
  exit 1
fi
answer=$(curl --silent --show-error --max-time 10 --output /dev/null --write-out '%{http_code}' \
  "http://127.0.0.1:$port/health/readiness")
if [ "$answer" != 200 ]; then
  echo "/health/readiness of Service/${!#} answers $answer" >&2
  exit 1
fi

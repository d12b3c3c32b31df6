#!/usr/bin/env bash
# Runs the commands of docs/kubernetes.md, "From nothing to a cluster", on a real cluster: a service on PostgreSQL is rolled
# to its next schema and back under load without a failed request; its database is killed, stays down, and returns.
#
#   tests/e2e/walk.sh
#
# Namespaces `orders-dev` and `databases` are made anew and deleted. Prometheus is this machine's program, with the rules
# of the generated service. tools/cluster.sh says what else it goes by. Where a cluster gives out no volumes, there is a
# folder of this machine; where the image postgres:18 cannot be had, Debian's PostgreSQL stands in.
set -Eeuo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
. tests/e2e/tools/cluster.sh

# The Dockerfiles are written for BuildKit, which older engines have to be asked for.
export DOCKER_BUILDKIT=1

# === What is not ours ===

if ! docker image inspect postgres:18 >/dev/null 2>&1 && ! docker pull --quiet postgres:18 >/dev/null 2>&1; then
  must docker build --tag postgres:18 tests/e2e/images/postgres
  say "PostgreSQL of Debian stands in for the image postgres:18"
fi
if [ -z "$(kubectl get storageclasses --output name)" ]; then
  mkdir --mode=777 "$work/data"
  kubectl delete persistentvolume walk --ignore-not-found >/dev/null
  kubectl create --filename - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: walk}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 1Gi}
  hostPath: {path: $work/data}
YAML
  say "a folder stands in for volumes"
fi
fresh orders-dev databases

# === The commands of docs/kubernetes.md ===

section=$(sed -n '/^## From nothing to a cluster/,/^## Contents/p' docs/kubernetes.md)
mapfile -t commands < <(sed '1,/^.``sh$/d; /^.``$/,$d' <<<"$section")
[ ${#commands[@]} -gt 0 ] && [ ${#commands[@]} -le 10 ] || fail "docs/kubernetes.md has ${#commands[@]} commands, expected 1 to 10"
done=0
run() { # WORDS: the next command, which has these words
  local command=${commands[$done]-}
  [[ $command == *"$1"* ]] || fail "command $((done + 1)) is \"$command\", not about $1"
  done=$((done + 1))
  say "\$ $command"
  eval "${command//..\/orders/$work/orders}" >"$work/out" 2>&1 || { cat "$work/out"; fail "$command"; }
}

run "cargo chassis new"
run "cd "
run "k8s/cluster/databases"
run "docker build"
run "scripts/deploy.sh"

kube=(kubectl --namespace=orders-dev)
pod() { "${kube[@]}" get pods --selector app.kubernetes.io/name=orders --field-selector status.phase=Running --output "jsonpath={.items[0].status.podIP}"; }
service=http://$("${kube[@]}" get service orders --output 'jsonpath={.spec.clusterIP}')
database() { kubectl --namespace=databases exec postgres-0 -- psql --username=orders --no-align --tuples-only --command="$1"; }
serves() { [ "$("${kube[@]}" get deployment orders --output 'jsonpath={.spec.template.spec.containers[0].image}')" = "$1" ]; }
asks() { "${inside[@]}" curl --silent --show-error --max-time 10 "$@"; }

[ "$(asks --output /dev/null --write-out '%{http_code}' --json '{"reference":"A-1","item":"tea","quantity":2}' "$service/orders")" = 201 ] ||
  fail "no order was taken"
say "an order is in the database"

# === The next schema ===

cd "$root"
begin "the next version, and the migration before it" "$service/orders"
cd "$work/orders"
run "migrations/"
run "docker build"
run "scripts/deploy.sh"
serves orders:2 || fail "orders:2 does not serve"
[ "$(database 'SELECT count(*) FROM _sqlx_migrations WHERE success')" = 2 ] || fail "the database was not migrated"
end

# === Without a database ===

address=$(pod)
sed -n '/^  groups:/,$ s/^  //p' k8s/components/alerts/alerts.yaml >"$work/rules.yaml"
cat >"$work/prometheus.yaml" <<YAML
global: {scrape_interval: 5s, evaluation_interval: 5s}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: orders
    static_configs: [{targets: ["$address:9090"], labels: {namespace: orders-dev}}]
YAML
"${inside[@]}" prometheus --config.file="$work/prometheus.yaml" --storage.tsdb.path="$work/tsdb" \
  --web.listen-address=127.0.0.1:19090 >"$work/prometheus.log" 2>&1 &
prometheus=$!
trap 'kill "$prometheus" 2>/dev/null; cleanup' EXIT

is_ready() { [ "$(asks --output /dev/null --write-out '%{http_code}' "http://$address:9090/health/readiness")" = 200 ]; }
is_not_ready() { ! is_ready; }
answers_503() {
  local answer
  answer=$(asks --include "http://$address:8080/orders")
  grep -q '^HTTP/1.1 503' <<<"$answer" && grep -qi '^content-type: application/problem+json' <<<"$answer"
}
lists_the_order() { asks "$service/orders" | grep -q '"A-1"'; }
alert() { # firing|nothing
  local alerts
  alerts=$(asks "http://127.0.0.1:19090/api/v1/query?query=ALERTS%7Balertname=%22StoreDown%22,alertstate=%22firing%22%7D")
  case $1 in firing) grep -q '"alertname":"StoreDown"' <<<"$alerts" ;; nothing) grep -q '"result":\[\]' <<<"$alerts" ;; esac
}
endpoints() { [ "$("${kube[@]}" get endpoints orders --output 'jsonpath={.subsets[*].addresses[*].ip}')" = "$1" ]; }

say "--- the database is killed"
run "delete pod"
until_true "the orders are there again" 120 lists_the_order

say "--- the database is gone for longer"
kubectl --namespace=databases scale statefulset/postgres --replicas=0 >/dev/null
until_true "the pod is not ready" 60 is_not_ready
until_true "an order that is asked for is a 503, as problem+json" 30 answers_503
until_true "the Service has no pod" 30 endpoints ""
say "503 and not ready; the alert waits for two minutes"
until_true "StoreDown fires" 240 alert firing
say "StoreDown fires"
kubectl --namespace=databases scale statefulset/postgres --replicas=1 >/dev/null
until_true "the pod is ready again" 120 is_ready
until_true "the Service has its pod" 30 endpoints "$address"
until_true "the orders are there again" 30 lists_the_order
until_true "StoreDown ends" 60 alert nothing
restarts=$("${kube[@]}" get pods --selector app.kubernetes.io/name=orders --output 'jsonpath={.items[*].status.containerStatuses[*].restartCount}')
[ "$restarts" = 0 ] || fail "the pod was restarted $restarts times, which helps no database"
say "ready again, and StoreDown is over"

# === Back ===

cd "$root"
begin "the version before, on the schema after" "$service/orders"
cd "$work/orders"
run "rollout undo"
must "${kube[@]}" rollout status deployment/orders --timeout=180s
serves orders:1 || fail "orders:1 does not serve"
end
lists_the_order || fail "the order is not there any more"

[ $done = ${#commands[@]} ] || fail "docs/kubernetes.md has ${#commands[@]} commands, and $done were run"
counted

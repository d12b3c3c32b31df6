#!/usr/bin/env bash
# The manifests and scripts on a real cluster, under load through the Service: a rolling update, undo, a version that
# never becomes ready, a canary, evictions, blue-green. Not one request may fail; the client counts.
#
#   tests/e2e/cluster.sh IMAGE
#
# IMAGE is the service, where the cluster's nodes have it (a local engine's, or pulled); tags :1, :2 and :broken of
# local/service are made from it with docker. Namespace `service` is made anew and deleted. tools/cluster.sh says what
# else it goes by.
set -Eeuo pipefail
cd "$(dirname "$0")/../.."

image=${1-}
[ -n "$image" ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 64; }
. tests/e2e/tools/cluster.sh

# === Images ===

docker tag "$image" local/service:1
docker tag "$image" local/service:2
# It runs, but nothing answers where the probes ask.
must docker build --tag local/service:broken - <<DOCKERFILE
FROM local/service:1
ENV APP__ADMIN__PORT=9191
DOCKERFILE

# The template's scripts, rendered for a service of this name, beside the manifests and settings that they deploy.
scripts=$work/service/scripts
must cargo build-tool
must env CARGO=true target/debug/cargo-chassis new "$work/rendered/service" --define chassis=registry
mkdir "$work/service"
cp -r k8s config "$work/rendered/service/scripts" "$work/service"

service() { printf 'http://%s/' "$(kubectl -n service get service service --output 'jsonpath={.spec.clusterIP}')"; }
ready() { kubectl -n service get deployment "$1" --output 'jsonpath={.status.readyReplicas}'; }
serves() { kubectl -n service get deployment "$1" --output 'jsonpath={.spec.template.spec.containers[0].image}'; }
has() { [ "$(ready "$1")" = "$2" ]; }
until_ready() { until_true "$1 has $2 pods" 120 has "$@"; } # DEPLOYMENT REPLICAS

# === One Deployment ===

fresh service
say "base: applies and becomes ready"
kubectl create namespace service >/dev/null
kubectl kustomize k8s/base | sed 's#image: service:0.1.0#image: local/service:1#' >"$work/base.yaml"
must kubectl -n service apply --filename "$work/base.yaml"
must kubectl -n service rollout status deployment/service --timeout=180s

fresh service
say "production: deploy.sh"
must "$scripts/deploy.sh" --image local/service:1
# The autoscaler brings it to its least.
until_ready service 3

begin "rolling update: deploy.sh" "$(service)"
must "$scripts/deploy.sh" --image local/service:2
[ "$(serves service)" = local/service:2 ] || fail "$(serves service) serves"
end

begin "undo" "$(service)"
must kubectl -n service rollout undo deployment/service
must kubectl -n service rollout status deployment/service --timeout=180s
[ "$(serves service)" = local/service:1 ] || fail "$(serves service) serves"
end

begin "a version that never becomes ready is held back, then taken back by deploy.sh" "$(service)"
must_fail "$scripts/deploy.sh" --image local/service:broken --timeout 30s
grep -q 'was taken back' "$work/out" || { cat "$work/out"; exit 1; }
until_ready service 3
[ "$(serves service)" = local/service:1 ] || fail "$(serves service) serves"
end

begin "canary: one that fails, one that is promoted" "$(service)"
must_fail "$scripts/promote.sh" --timeout 20s canary start local/service:broken
must "$scripts/promote.sh" canary start local/service:2
must "$scripts/promote.sh" canary share 40
[ "$(ready service-canary)" = 2 ] || fail "$(ready service-canary) canaries, not 2"
must "$scripts/promote.sh" canary finish
[ "$(serves service)" = local/service:2 ] || fail "$(serves service) serves"
end

begin "evictions, as a drain does them: one at a time, by the budget" "$(service)"
group=policy/v1
[ "$version" -ge 22 ] || group=policy/v1beta1
evict() {
  kubectl create --raw "/api/v1/namespaces/service/pods/$1/eviction" --filename - >/dev/null 2>&1 \
    <<<"{\"apiVersion\":\"$group\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"$1\",\"namespace\":\"service\"}}"
}
# Those of the version before may still be ending.
pods() { kubectl -n service get pods --selector track=stable --output 'jsonpath={.items[*].metadata.name}'; }
deadline=$((SECONDS + 120))
until [ "$(pods | wc -w)" = 3 ] || [ $SECONDS -ge $deadline ]; do sleep 1; done
refused=0
for pod in $(pods); do
  deadline=$((SECONDS + 120))
  until evict "$pod"; do
    refused=$((refused + 1))
    [ $SECONDS -lt $deadline ] || fail "the budget never let $pod go"
    sleep 1
  done
done
until_ready service 3
say "every pod was evicted; the budget refused $refused times meanwhile"
[ $refused -gt 0 ] || fail "the budget held nothing back"
end

# === Two Deployments ===

fresh service
say "blue-green: both colours become ready"
kubectl kustomize k8s/overlays/blue-green | sed 's#image: registry.example.com/service:0.1.0#image: local/service:1#' >"$work/pair.yaml"
must kubectl apply --filename "$work/pair.yaml"
until_ready service-blue 2
until_ready service-green 2

begin "blue-green: stage, switch, switch back; a colour that fails is not switched to" "$(service)"
must "$scripts/promote.sh" stage local/service:2
must "$scripts/promote.sh" switch
[ "$("$scripts/promote.sh" colour)" = green ] || fail "green is not live"
must "$scripts/promote.sh" switch
[ "$("$scripts/promote.sh" colour)" = blue ] || fail "blue is not live"
must_fail "$scripts/promote.sh" --timeout 20s stage local/service:broken
must_fail "$scripts/promote.sh" --timeout 10s switch
[ "$("$scripts/promote.sh" colour)" = blue ] || fail "blue is not live"
end

counted

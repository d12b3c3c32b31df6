#!/usr/bin/env bash
# The manifests and scripts on a real cluster, under load through the Service: a rolling update, undo, a version that
# never becomes ready, a canary, evictions, blue-green. Not one request may fail; the client counts.
#
#   tests/e2e/cluster.sh IMAGE
#
# IMAGE is the service, where the cluster's nodes have it (a local engine's, or pulled); tags :1, :2 and :broken of
# local/service are made from it with docker. KUBECONFIG says which cluster; namespace `service` is made anew and
# deleted. CLUSTER_NETNS is the file of a network namespace in which Service addresses exist, if this machine's is not one.
#
# On clusters older than the manifests (below 1.27) a shim in front of kubectl substitutes, and says so:
#   policy/v1 -> v1beta1 and no unhealthyPodEvictionPolicy, autoscaling/v2 -> v2beta2, no matchLabelKeys.
# On every cluster: CPU requests of 50m, so that all fits one small node, and no kinds that it does not serve.
set -Eeuo pipefail
cd "$(dirname "$0")/../.."

image=${1-}
[ -n "$image" ] || { sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 64; }
netns=${CLUSTER_NETNS-}
if ! version=$(kubectl version --request-timeout=5s --output=json 2>/dev/null | sed -n '/serverVersion/,$s/.*"minor": "\([0-9]*\).*/\1/p') || [ -z "$version" ]; then
  echo "cluster.sh: there is no cluster: kubectl reaches none with KUBECONFIG=${KUBECONFIG-}. Nothing was tested."
  exit 77
fi
inside=()
if [ -n "$netns" ]; then inside=(nsenter "--net=$netns" --); fi

work=$(mktemp -d)
cleanup() {
  if [ -n "${load-}" ]; then kill "$load" 2>/dev/null || true; fi
  kubectl delete namespace service --ignore-not-found --wait=false >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

# === What the cluster cannot take ===

real=$(command -v kubectl)
served=$(kubectl api-resources --output=name)
unserved=
for kind in HTTPRoute:httproutes ServiceMonitor:servicemonitors PrometheusRule:prometheusrules; do
  grep -q "^${kind#*:}\." <<<"$served" || unserved+="|${kind%:*}"
done
old=
if [ "$version" -lt 27 ]; then
  old='s#^apiVersion: policy/v1$#apiVersion: policy/v1beta1#; s#^apiVersion: autoscaling/v2$#apiVersion: autoscaling/v2beta2#
    /unhealthyPodEvictionPolicy:/d; /matchLabelKeys:/,+1d'
fi
say "Kubernetes 1.$version; left out: ${unserved#|}; older APIs substituted: $([ -n "$old" ] && echo yes || echo no)"
mkdir "$work/bin"
cat >"$work/bin/kubectl" <<SHIM
#!/usr/bin/env bash
if [ "\$1" != kustomize ]; then exec "$real" "\$@"; fi
set -o pipefail
"$real" "\$@" | sed '$old' | awk '
  /requests:/ { small = 1 } small && /cpu:/ { sub(/cpu:.*/, "cpu: 50m"); small = 0 }
  { document = document \$0 "\n" } /^kind:/ { kind = \$2 }
  function flush() { if (kind !~ /^(-$unserved)\$/) printf "%s", document; document = ""; kind = "" }
  /^---/ { flush() } END { flush() }'
SHIM
chmod +x "$work/bin/kubectl"
export PATH="$work/bin:$PATH"

# === Images ===

must() { "$@" >"$work/out" 2>&1 || { cat "$work/out"; say "FAILED: $*"; exit 1; }; }
docker tag "$image" local/service:1
docker tag "$image" local/service:2
# It runs, but nothing answers where the probes ask.
must docker build --tag local/service:broken - <<DOCKERFILE
FROM local/service:1
ENV APP__ADMIN__PORT=9191
DOCKERFILE

# === Load ===

total=0
failed=0
begin() { # WHAT
  what=$1
  address=$(kubectl -n service get service service --output 'jsonpath={.spec.clusterIP}')
  say "--- $what"
  "${inside[@]}" python3 tests/e2e/tools/load.py "http://$address/" 600 "${RATE:-100}" >"$work/load" 2>&1 &
  load=$!
  sleep 2
}
end() {
  sleep 2
  kill -TERM "$load"
  wait "$load" || true
  load=
  sed 's/^/          /' "$work/load"
  total=$((total + $(sed -n 's/^\([0-9]*\) requests.*/\1/p' "$work/load")))
  failed=$((failed + $(sed -n 's/.* requests, \([0-9]*\) failed.*/\1/p' "$work/load")))
}
must_fail() { if "$@" >"$work/out" 2>&1; then cat "$work/out"; say "FAILED: it should not have succeeded: $*"; exit 1; fi; }
ready() { kubectl -n service get deployment "$1" --output 'jsonpath={.status.readyReplicas}'; }
serves() { kubectl -n service get deployment "$1" --output 'jsonpath={.spec.template.spec.containers[0].image}'; }
until_ready() { # DEPLOYMENT REPLICAS
  local deadline=$((SECONDS + 120))
  until [ "$(ready "$1")" = "$2" ]; do
    [ $SECONDS -lt $deadline ] || { say "FAILED: $1 has $(ready "$1") pods, not $2"; exit 1; }
    sleep 1
  done
}

fresh() {
  kubectl delete namespace service --ignore-not-found --wait=true >/dev/null
}

# === One Deployment ===

fresh
say "base: applies and becomes ready"
kubectl create namespace service >/dev/null
kubectl kustomize k8s/base | sed 's#image: service:0.1.0#image: local/service:1#' >"$work/base.yaml"
must kubectl -n service apply --filename "$work/base.yaml"
must kubectl -n service rollout status deployment/service --timeout=180s

fresh
say "production: deploy.sh"
must scripts/deploy.sh --image local/service:1
# The autoscaler brings it to its least.
until_ready service 3

begin "rolling update: deploy.sh"
must scripts/deploy.sh --image local/service:2
[ "$(serves service)" = local/service:2 ] || { say "FAILED: $(serves service) serves"; exit 1; }
end

begin "undo"
must kubectl -n service rollout undo deployment/service
must kubectl -n service rollout status deployment/service --timeout=180s
[ "$(serves service)" = local/service:1 ] || { say "FAILED: $(serves service) serves"; exit 1; }
end

begin "a version that never becomes ready is held back, then taken back by deploy.sh"
must_fail scripts/deploy.sh --image local/service:broken --timeout 30s
grep -q 'was taken back' "$work/out" || { cat "$work/out"; exit 1; }
until_ready service 3
[ "$(serves service)" = local/service:1 ] || { say "FAILED: $(serves service) serves"; exit 1; }
end

begin "canary: one that fails, one that is promoted"
must_fail scripts/promote.sh --timeout 20s canary start local/service:broken
must scripts/promote.sh canary start local/service:2
must scripts/promote.sh canary share 40
[ "$(ready service-canary)" = 2 ] || { say "FAILED: $(ready service-canary) canaries, not 2"; exit 1; }
must scripts/promote.sh canary finish
[ "$(serves service)" = local/service:2 ] || { say "FAILED: $(serves service) serves"; exit 1; }
end

begin "evictions, as a drain does them: one at a time, by the budget"
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
    [ $SECONDS -lt $deadline ] || { say "FAILED: the budget never let $pod go"; exit 1; }
    sleep 1
  done
done
until_ready service 3
say "every pod was evicted; the budget refused $refused times meanwhile"
[ $refused -gt 0 ] || { say "FAILED: the budget held nothing back"; exit 1; }
end

# === Two Deployments ===

fresh
say "blue-green: both colours become ready"
kubectl kustomize k8s/overlays/blue-green | sed 's#image: registry.example.com/service:0.1.0#image: local/service:1#' >"$work/pair.yaml"
must kubectl apply --filename "$work/pair.yaml"
until_ready service-blue 2
until_ready service-green 2

begin "blue-green: stage, switch, switch back; a colour that fails is not switched to"
must scripts/promote.sh stage local/service:2
must scripts/promote.sh switch
[ "$(scripts/promote.sh colour)" = green ] || { say "FAILED: green is not live"; exit 1; }
must scripts/promote.sh switch
[ "$(scripts/promote.sh colour)" = blue ] || { say "FAILED: blue is not live"; exit 1; }
must_fail scripts/promote.sh --timeout 20s stage local/service:broken
must_fail scripts/promote.sh --timeout 10s switch
[ "$(scripts/promote.sh colour)" = blue ] || { say "FAILED: blue is not live"; exit 1; }
end

say "$total requests, $failed failed"
[ "$failed" = 0 ]

# For scripts that try something on a real cluster: sourced, from the root of this repository. KUBECONFIG says which
# cluster; CLUSTER_NETNS is the file of a network namespace in which Service addresses exist, if this machine's is not one.
#
# On clusters older than the manifests (below 1.27) a shim in front of kubectl substitutes, and prints that:
#   policy/v1 -> v1beta1 and no unhealthyPodEvictionPolicy, autoscaling/v2 -> v2beta2, no matchLabelKeys.
# Below 1.30 also: no preStop.sleep and no resizePolicy, which those clusters do not know.
# On every cluster: CPU requests of 50m, so that all fits one small node, and no kinds that it does not serve.
# shellcheck shell=bash

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }
fail() { say "FAILED: $*"; exit 1; }

if ! version=$(kubectl version --request-timeout=5s --output=json 2>/dev/null | sed -n '/serverVersion/,$s/.*"minor": "\([0-9]*\).*/\1/p') || [ -z "$version" ]; then
  echo "${0##*/}: there is no cluster: kubectl reaches none with KUBECONFIG=${KUBECONFIG-}. Nothing was tested."
  exit 77
fi
inside=()
if [ -n "${CLUSTER_NETNS-}" ]; then inside=(nsenter "--net=$CLUSTER_NETNS" --); fi

work=$(mktemp -d)
namespaces=()
cleanup() {
  if [ -n "${load-}" ]; then kill "$load" 2>/dev/null || true; fi
  for namespace in "${namespaces[@]}"; do
    kubectl delete namespace "$namespace" --ignore-not-found --wait=false >/dev/null 2>&1 || true
  done
  rm -rf "$work"
}
trap cleanup EXIT

# Makes sure that the namespaces are not there, now and when the script ends.
fresh() { # NAMESPACE...
  namespaces=("$@")
  kubectl delete namespace "$@" --ignore-not-found --wait=true >/dev/null
}

must() { "$@" >"$work/out" 2>&1 || { cat "$work/out"; fail "$*"; }; }
must_fail() { if "$@" >"$work/out" 2>&1; then cat "$work/out"; fail "it should not have succeeded: $*"; fi; }
until_true() { # WHAT SECONDS COMMAND...
  local what=$1 deadline=$((SECONDS + $2))
  shift 2
  until "$@" >"$work/out" 2>&1; do
    [ $SECONDS -lt $deadline ] || { cat "$work/out"; fail "$what: not in time"; }
    sleep 1
  done
}

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
if [ "$version" -lt 30 ]; then
  old+='
    /lifecycle:/,/seconds:/d
    /resizePolicy:/,/NotRequired/d'
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

# === Load ===

must cargo build --package e2e --bin load --locked
total=0
failed=0
begin() { # WHAT URL
  say "--- $1"
  "${inside[@]}" timeout "${LIMIT:-600}" target/debug/load "$2" "${RATE:-100}" >"$work/load" 2>&1 &
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
counted() {
  say "$total requests, $failed failed"
  [ "$total" -gt 0 ] && [ "$failed" = 0 ]
}

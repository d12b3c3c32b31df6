#!/usr/bin/env bash
# A million requests through the Service, on kept and new connections and by HTTP/2, over a hundred rolling restarts, not one
# of them failed. About an hour.
#
#   [RESTARTS=100] [REQUESTS=1000000] [RATE=400] tests/e2e/soak.sh IMAGE
#
# IMAGE is the service, where the cluster's nodes have it. Namespace `service` is made anew and deleted. tools/cluster.sh
# says what else it goes by.
set -Eeuo pipefail
cd "$(dirname "$0")/../.."

image=${1-}
[ -n "$image" ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64; }
restarts=${RESTARTS:-100}
requests=${REQUESTS:-1000000}
export RATE=${RATE:-400} LIMIT=7200
. tests/e2e/tools/cluster.sh

fresh service
kubectl create namespace service >/dev/null
must docker tag "$image" local/service:1
kubectl kustomize k8s/base | sed 's#image: service:0.1.0#image: local/service:1#' >"$work/base.yaml"
must kubectl --namespace=service apply --filename "$work/base.yaml"
must kubectl --namespace=service rollout status deployment/service --timeout=180s

begin "$restarts rolling restarts" "http://$(kubectl --namespace=service get service service --output 'jsonpath={.spec.clusterIP}')/"
began=$SECONDS
for restart in $(seq "$restarts"); do
  must kubectl --namespace=service rollout restart deployment/service
  must kubectl --namespace=service rollout status deployment/service --timeout=180s
  kill -0 "$load" || { cat "$work/load"; fail "the load has ended"; }
  [ $((restart % 10)) != 0 ] || say "$restart restarts after $((SECONDS - began)) s"
done
until [ $(((SECONDS - began) * RATE)) -ge "$requests" ]; do sleep 1; done
end
counted
[ "$total" -ge "$requests" ] || fail "$total requests, not $requests"

#!/usr/bin/env bash
# Moves traffic from one version to another: all at once (blue-green) or in shares (canary).
set -Eeuo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/promote.sh [options] COMMAND

  Blue-green, with k8s/overlays/blue-green applied:
    colour                prints the live colour
    stage IMAGE           deploys IMAGE to the other colour, and waits until it is ready
    switch [blue|green]   switches the Service to the other colour once all its pods are ready, and checks the
                          readiness; if that fails, it switches back. Run it again to switch back.

  Canary, next to k8s/overlays/production:
    canary start IMAGE    starts one pod of IMAGE; removes it if it does not become ready
    canary share PERCENT  sets its share of the HTTPRoute's requests; without an HTTPRoute, of the pods
    canary finish         rolls the canary's image out to all pods, then removes the canary; needs room for a pod more
    canary abort          removes the canary
  With an HTTPRoute (the gateway component) the canary gets no requests through it until the first share.
  Without one, it gets its share of the Service's requests from the start, as one pod among the others.

  --namespace NAMESPACE, --name NAME   default: those of the overlay
  --timeout DURATION                   for each rollout (default: 300s)
  --dry-run                            print the changes, and change nothing
  -h, --help

  The script edits no files. Afterwards, set the printed values in the overlay, so that applying it again keeps
  them.
USAGE
}

say() { printf '==> %s\n' "$*"; }
fail() {
  printf 'promote: %s\n' "$*" >&2
  exit 1
}
wrong_use() {
  printf 'promote: %s; see --help\n' "$*" >&2
  exit 64
}

cd "$(dirname "$0")/.."
namespace=
name=
timeout=300s
dry_run=no
command=()
while [ $# -gt 0 ]; do
  case $1 in
    --namespace | --name | --timeout)
      [ $# -ge 2 ] || wrong_use "$1 needs a value"
      printf -v "${1#--}" '%s' "$2"
      shift
      ;;
    --dry-run) dry_run=yes ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*) wrong_use "unknown option $1" ;;
    *) command+=("$1") ;;
  esac
  shift
done
[[ $timeout =~ ^[0-9]+[smh]$ ]] || wrong_use "invalid --timeout $timeout: expected a duration such as 300s"
image_pattern='^[a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64})$'
is_image() { [[ $1 =~ $image_pattern ]] || wrong_use "invalid image $1: expected a tag or a digest"; }
for program in kubectl curl; do
  command -v "$program" >/dev/null || fail "$program is not installed"
done

# The overlay's values, unless flags override them.
about() {
  local rendered
  rendered=$(kubectl kustomize "$1") || fail "$1 does not render"
  name=${name:-$(awk '$1 == "app.kubernetes.io/name:" { print $2; exit }' <<<"$rendered")}
  namespace=${namespace:-$(awk '/^  namespace: / { print $2; exit }' <<<"$rendered")}
  kube=(kubectl "--namespace=$namespace")
}
# Changes the cluster; with --dry-run it only prints the command.
change() {
  if [ "$dry_run" = yes ]; then
    printf '  + kubectl'
    printf ' %q' "${kube[@]:1}" "$@"
    printf '\n'
  else
    "${kube[@]}" "$@"
  fi
}
get() { "${kube[@]}" get "$1" --ignore-not-found --output "jsonpath=$2"; }
wait_for() { # DEPLOYMENT
  change rollout status "deployment/$1" "--timeout=$timeout" && return
  # The usual reason of a rollout that stands still: no node has room for the pods.
  "${kube[@]}" get pods --field-selector=status.phase=Pending --output \
    'jsonpath={range .items[*]}{.metadata.name}{": "}{.status.conditions[?(@.reason=="Unschedulable")].message}{"\n"}{end}' |
    grep -v ': $' >&2 || true
  return 1
}
{%- if database == "postgres" %}

# Runs the image's migrations before its pods start. The pods that serve have to work with the new schema, too.
migrate() { # IMAGE
  say "migrating the database"
  [ "$dry_run" = yes ] || scripts/migrate.sh "--namespace=$namespace" k8s/migrate/production "$1" ||
    fail "the migration failed; no pod was changed"
}
{%- endif %}

# === Blue-green ===

live() {
  local colour
  colour=$(get "service/$name" '{.spec.selector.track}') || fail "the cluster does not respond"
  case $colour in
    blue | green) printf '%s\n' "$colour" ;;
    *) fail "Service/$name selects no colour: apply k8s/overlays/blue-green first" ;;
  esac
}
other() { if [ "$1" = blue ]; then echo green; else echo blue; fi; }
point() { # SERVICE COLOUR
  change patch "service/$1" --type=merge --patch "{\"spec\":{\"selector\":{\"track\":\"$2\"}}}"
}

stage() {
  local from idle
  is_image "$1"
  from=$(live)
  idle=$(other "$from")
{%- if database == "postgres" %}
  migrate "$1"
{%- endif %}
  say "deploying $1 to $idle, which is not live"
  change set image "deployment/$name-$idle" "app=$1"
  wait_for "$name-$idle" || fail "$idle did not become ready; the live colour was not changed"
  say "$idle is ready: try Service/$name-preview, then switch"
}

switch() {
  local from to
  from=$(live)
  to=${1:-$(other "$from")}
  case $to in blue | green) ;; *) wrong_use "$to is neither blue nor green" ;; esac
  if [ "$to" = "$from" ]; then
    say "$to is live already"
    return
  fi
  wait_for "$name-$to" || fail "$to is not ready; $from stays live"
  # After the switch there must be as many pods as before it.
  local had has
  had=$(get "deployment/$name-$from" '{.status.readyReplicas}')
  has=$(get "deployment/$name-$to" '{.status.readyReplicas}')
  if [ "${has:-0}" -lt "${had:-0}" ]; then
    say "scaling $to from ${has:-0} to $had, as many as $from has"
    change scale "deployment/$name-$to" "--replicas=$had"
    wait_for "$name-$to" || fail "$to did not scale up; $from stays live"
  fi
  say "switching from $from to $to"
  point "$name" "$to"
  [ "$dry_run" = no ] || return 0
  if ! scripts/readiness.sh "${kube[@]:1}" "$name"; then
    point "$name" "$from"
    fail "$to does not respond; switched back to $from"
  fi
  point "$name-preview" "$from"
  say "$to is live. In k8s/overlays/blue-green/kustomization.yaml, at /spec/selector/track: value: $to"
}

# === Canary ===

start() {
  local top current
  is_image "$1"
  [ -n "$(get "deployment/$name" '{.metadata.name}')" ] || fail "there is no deployment/$name: deploy production before a canary"
  top=$(mktemp -d)
  # shellcheck disable=SC2064 # $top is local: it is to be read now
  trap "rm -rf '$top'" EXIT
  current=$(kubectl kustomize k8s/overlays/canary/track |
    awk '$1 == "image:" { sub(/@.*/, "", $2); sub(/:[^:\/]*$/, "", $2); print $2; exit }')
  cat >"$top/kustomization.yaml" <<YAML
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: $namespace
resources:
  - $(realpath --relative-to="$top" k8s/overlays/canary/track)
images:
  - name: $current
    newName: $(sed -E 's/(:[^:\/]*|@.*)$//' <<<"$1")
    $(case $1 in *@*) echo "digest: ${1#*@}" ;; *) echo "newTag: \"${1##*:}\"" ;; esac)
YAML
  kubectl kustomize "$top" >"$top/rendered.yaml"
{%- if database == "postgres" %}
  migrate "$1"
{%- endif %}
  if routed; then divide 0; fi
  say "starting one pod of $1 next to the others"
  change apply --filename "$top/rendered.yaml"
  if ! wait_for "$name-canary"; then
    "${kube[@]}" logs "deployment/$name-canary" --tail=20 >&2 || true
    remove
    fail "the canary did not become ready, and was removed"
  fi
  if routed; then
    say "the canary is ready: send it requests with canary share PERCENT"
  else
    say "the canary serves"
  fi
}

# Whether requests arrive through an HTTPRoute, whose weights can be set.
routed() { [ -n "$("${kube[@]}" get "httproute/$name" --ignore-not-found --output name 2>/dev/null)" ]; }
backends() { # BACKENDREFS
  change patch "httproute/$name" --type=json \
    --patch "[{\"op\":\"replace\",\"path\":\"/spec/rules/0/backendRefs\",\"value\":[$1]}]"
}
# Until a Service has the address of a ready pod, requests that are sent there fail.
addresses() { # SERVICE
  local found
  [ "$dry_run" = no ] || return 0
  for _ in $(seq 60); do
    found=$("${kube[@]}" get endpointslices --selector "kubernetes.io/service-name=$1" \
      --output 'jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses[*]}' 2>/dev/null) || true
    if [ -n "$found" ]; then return 0; fi
    sleep 1
  done
  fail "Service/$1 has no addresses; the route was not changed"
}
# Sends a share of the route's requests to the canary. Each of two Services has the pods of one track.
divide() { # PERCENT
  change apply --filename k8s/components/canary-weights/services.yaml
  addresses "$name-stable"
  if [ "$1" -gt 0 ]; then addresses "$name-canary"; fi
  backends "{\"name\":\"$name-stable\",\"port\":80,\"weight\":$((100 - $1))},
    {\"name\":\"$name-canary\",\"port\":80,\"weight\":$1}"
}
exists() {
  [ -n "$(get "deployment/$name-canary" '{.metadata.name}')" ] || fail "there is no canary: promote.sh canary start IMAGE"
}

share() {
  local stable canary has
  [[ $1 =~ ^[1-9][0-9]?$ ]] || wrong_use "a share is a whole number from 1 to 99"
  exists
  stable=$(get "deployment/$name" '{.status.readyReplicas}')
  has=$(get "deployment/$name-canary" '{.status.readyReplicas}')
  # The number of pods that gives each canary pod the same load as the others.
  canary=$((($1 * ${stable:-0} + (100 - $1) / 2) / (100 - $1)))
  if [ "$canary" -lt 1 ]; then canary=1; fi
  if ! routed || [ "$canary" -gt "${has:-0}" ]; then
    change scale "deployment/$name-canary" "--replicas=$canary"
    wait_for "$name-canary" || fail "the canary did not scale up"
  fi
  if routed; then
    divide "$1"
    say "$1 % of the requests through the HTTPRoute go to the canary"
  else
    say "$canary of $((canary + stable)) pods are canaries: $((100 * canary / (canary + stable))) %. The autoscaler changes this share."
  fi
}

remove() {
  if routed; then divide 0; fi
  # The pods' shutdown deadline lets requests in flight finish.
  change delete "deployment/$name-canary" "poddisruptionbudget/$name-canary" --ignore-not-found --wait=true
  # Restores the overlay's route. The two Services stay, because a proxy may still use them, and the next canary does.
  if routed; then backends "{\"name\":\"$name\",\"port\":80,\"weight\":1}"; fi
}

finish() {
  local image before
  exists
  image=$(get "deployment/$name-canary" '{.spec.template.spec.containers[0].image}')
  before=$(get "deployment/$name" '{.metadata.annotations.deployment\.kubernetes\.io/revision}')
  say "rolling out $image"
  change set image "deployment/$name" "app=$image"
  if ! wait_for "$name"; then
    change rollout undo "deployment/$name" "--to-revision=$before"
    wait_for "$name" || true
    fail "$image did not roll out; deployment/$name was rolled back, and the canary stays"
  fi
  remove
  say "done. In the overlay's images: $image"
}

# === Run the command ===

case ${command[0]-} in
  colour | stage | switch) about k8s/overlays/blue-green ;;
  canary) about k8s/overlays/canary/track ;;
esac
case "${command[*]:0:2} ${#command[@]}" in
  "colour 1") live ;;
  "stage "*" 2") stage "${command[1]}" ;;
  "switch 1") switch ;;
  "switch "*" 2") switch "${command[1]}" ;;
  "canary start 3") start "${command[2]}" ;;
  "canary share 3") share "${command[2]}" ;;
  "canary finish 2") finish ;;
  "canary abort 2")
    exists
    remove
    say "the canary is removed"
    ;;
  " 0") wrong_use "missing command" ;;
  *) wrong_use "unknown command ${command[*]}" ;;
esac

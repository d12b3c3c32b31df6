#!/usr/bin/env bash
# Runs the migrations of IMAGE and waits for them: exit code 0 on success.
# usage: scripts/migrate.sh [--namespace=NAME] k8s/migrate/OVERLAY IMAGE
set -Eeuo pipefail
namespace=
case ${1-} in --namespace=*) namespace=${1#*=} && shift ;; esac
[ $# -eq 2 ] || { echo "usage: $0 [--namespace=NAME] k8s/migrate/OVERLAY IMAGE" >&2; exit 64; }

fail() {
  printf 'migrate: %s\n' "$*" >&2
  exit 1
}

# A temporary folder adds the image, so no file of the repository changes.
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
rendered=$(kubectl kustomize "$1") || fail "$1 does not render"
current=$(awk '$1 == "image:" { sub(/@.*/, "", $2); sub(/:[^:\/]*$/, "", $2); print $2; exit }' <<<"$rendered")
namespace=${namespace:-$(awk '/^  namespace: / { print $2; exit }' <<<"$rendered")}
cat >"$top/kustomization.yaml" <<YAML
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: $namespace
resources:
  - $(realpath --relative-to="$top" "$1")
images:
  - name: $current
    newName: $(sed -E 's/(:[^:\/]*|@.*)$//' <<<"$2")
    $(case $2 in *@*) echo "digest: ${2#*@}" ;; *) echo "newTag: \"${2##*:}\"" ;; esac)
YAML
kubectl kustomize "$top" >"$top/rendered.yaml" || fail "$1 does not render with $2"
job=job/$(awk '$1 == "kind:" { kind = $2 } kind == "Job" && /^  name: / { print $2; exit }' "$top/rendered.yaml")
kube=(kubectl "--namespace=$namespace")

# A Job cannot be changed, so the Job of the last deployment is deleted first. Its migrations stay applied.
"${kube[@]}" delete "$job" --ignore-not-found --wait=true
kubectl apply --filename "$top/rendered.yaml"

# The Job ends by itself, at the latest after its activeDeadlineSeconds.
while :; do
  state=$("${kube[@]}" get "$job" --output 'jsonpath={.status.conditions[?(@.status=="True")].type}') ||
    fail "cannot read the state of $job from the cluster"
  case " $state " in
    *" Complete "*) break ;;
    *" Failed "*)
      "${kube[@]}" describe "$job" | sed -n '/^Events:/,$p' >&2 || true
      "${kube[@]}" logs "$job" --tail=20 >&2 || true
      fail "the migrations of $2 failed"
      ;;
  esac
  sleep 1
done
"${kube[@]}" logs "$job" --tail=5 || true

#!/usr/bin/env bash
# Builds, pushes and rolls out one version, and rolls it back if it does not become ready.
set -Eeuo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/deploy.sh [options]
{%- if database == "postgres" %}

  Builds the image, pushes it, migrates the database, applies an overlay, waits for the rollout, and checks the
  readiness through the Service. If a step fails, it rolls back, but not the database: migrations/README.md. Exits
  with 0 only if the new version serves.
{%- else %}

  Builds the image, pushes it, applies an overlay with it, waits for the rollout, and checks the readiness through
  the Service. If a step fails, it rolls back. Exits with 0 only if the new version serves.
{%- endif %}

  --registry HOST/PATH   the registry to push to          (or REGISTRY; required unless --image)
  --version VERSION      its tag                          (or VERSION; default: git describe)
  --image IMAGE          deploy this image; build nothing (name:tag or name@sha256:...)
  --overlay DIR          the overlay to apply             (or OVERLAY; default: k8s/overlays/production)
  --dockerfile FILE      default: Dockerfile.distroless
  --timeout DURATION     for the rollout                  (default: 300s)
  --no-push              build only; the cluster shares this machine's images
  --dry-run              print every step; let the server validate the manifests; change nothing
  -h, --help
{%- if database != "sqlite" %}

  For a canary or a blue-green pair see promote.sh.
{%- endif %}
USAGE
}

say() { printf '==> %s\n' "$*"; }
fail() {
  printf 'deploy: %s\n' "$*" >&2
  exit 1
}
wrong_use() {
  printf 'deploy: %s; see --help\n' "$*" >&2
  exit 64
}
# Prints a command and runs it; with --dry-run it only prints.
run() {
  printf '  +'
  printf ' %q' "$@"
  printf '\n'
  if [ "$dry_run" = no ]; then "$@"; fi
}

cd "$(dirname "$0")/.."
registry=${REGISTRY-}
version=${VERSION-}
overlay=${OVERLAY-k8s/overlays/production}
dockerfile=Dockerfile.distroless
image=
timeout=300s
push=yes
dry_run=no
while [ $# -gt 0 ]; do
  case $1 in
    --registry | --version | --image | --overlay | --dockerfile | --timeout)
      [ $# -ge 2 ] || wrong_use "$1 needs a value"
      printf -v "${1#--}" '%s' "$2"
      shift
      ;;
    --no-push) push=no ;;
    --dry-run) dry_run=yes ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) wrong_use "unknown option $1" ;;
  esac
  shift
done

# Names are written to YAML and passed to other programs, so only the characters of image names are allowed.
name_pattern='^[a-z0-9]([a-z0-9._-]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)*$'
tag_pattern='^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$'
[[ $timeout =~ ^[0-9]+[smh]$ ]] || wrong_use "invalid --timeout $timeout: expected a duration such as 300s"
[ -f "$overlay/kustomization.yaml" ] || wrong_use "$overlay has no kustomization.yaml"
{%- if database == "postgres" %}
migrations=k8s/migrate/$(basename "$overlay")
[ -f "$migrations/kustomization.yaml" ] || wrong_use "$overlay has no migrations: create $migrations, like k8s/migrate/production"
{%- endif %}
for program in kubectl curl; do
  command -v "$program" >/dev/null || fail "$program is not installed"
done

# === Read the overlay ===

rendered=$(kubectl kustomize "$overlay") || fail "$overlay does not render"
name=$(awk '$1 == "app.kubernetes.io/name:" { print $2; exit }' <<<"$rendered")
[ -n "$name" ] || fail "nothing in $overlay has the label app.kubernetes.io/name"
{%- if database == "sqlite" %}
[ "$(grep -c '^kind: Deployment$' <<<"$rendered")" = 1 ] || wrong_use "$overlay does not have exactly one Deployment"
{%- else %}
[ "$(grep -c '^kind: Deployment$' <<<"$rendered")" = 1 ] || wrong_use "$overlay does not have exactly one Deployment; use promote.sh for two"
{%- endif %}
namespace=$(awk '/^  namespace: / { print $2; exit }' <<<"$rendered")
kube=(kubectl)
if [ -n "$namespace" ]; then kube+=("--namespace=$namespace"); fi
deployment=deployment/$name

if [ -n "$image" ]; then
  [[ $image == *@sha256:* ]] || [[ ${image##*/} == *:* ]] || wrong_use "invalid --image $image: expected a tag or a digest"
else
  [ -n "$registry" ] || wrong_use "missing --registry (or REGISTRY): the registry to push the image to"
  if [ -z "$version" ]; then
    version=$(git describe --tags --always --dirty) || fail "no --version, and git describe fails"
  fi
  [[ $version =~ $tag_pattern ]] || wrong_use "invalid --version $version: expected an image tag"
  image=$registry/$name:$version
fi
case $image in
  *@sha256:*) image_name=${image%@*} pin="digest: ${image#*@}" ;;
  *) image_name=${image%:*} pin="newTag: \"${image##*:}\"" ;;
esac
[[ $image_name =~ $name_pattern ]] || wrong_use "invalid image name $image_name: expected REGISTRY/NAME in lower case"
[[ $pin =~ ^(digest:\ sha256:[0-9a-f]{64}|newTag:\ \"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\")$ ]] ||
  wrong_use "invalid image $image: expected a tag or a digest"

# === Build, push ===

if [ -n "$version" ] && [ "$image" = "$registry/$name:$version" ]; then
  say "building $image"
  commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
  # The Dockerfiles need BuildKit, which older engines do not use by default.
  run env DOCKER_BUILDKIT=1 docker build --file "$dockerfile" --tag "$image" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$commit" \
    --build-arg "CREATED=$(date -u +%Y-%m-%dT%H:%M:%SZ)" .
  if [ "$push" = yes ]; then
    say "pushing $image"
    run docker push "$image"
  fi
fi

# === Apply ===

# A temporary folder adds the image to the overlay, so no file of the repository changes.
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
current=$(awk '$1 == "image:" { sub(/@.*/, "", $2); sub(/:[^:\/]*$/, "", $2); print $2; exit }' <<<"$rendered")
cat >"$top/kustomization.yaml" <<YAML
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - $(realpath --relative-to="$top" "$overlay")
images:
  - name: $current
    newName: $image_name
    $pin
YAML
kubectl kustomize "$top" >"$top/rendered.yaml" || fail "$overlay does not render with $image"

say "applying $overlay to ${namespace:-the current namespace}"
# Validates on the server before any change, so that an unknown kind does not leave the manifests half applied.
judge() {
  # Resources in a namespace that does not exist cannot be validated.
  if [ -z "$namespace" ] || kubectl get namespace "$namespace" >/dev/null 2>&1; then
    kubectl apply --dry-run=server --filename "$top/rendered.yaml"
  else
    kubectl create --dry-run=client --filename "$top/rendered.yaml"
  fi
}
refused="the cluster rejects some of the resources. Some components need their operators: k8s/README.md"
if [ "$dry_run" = yes ]; then
  if kubectl version --request-timeout=5s >/dev/null 2>&1; then
    judge || fail "$refused"
  else
    say "the cluster does not respond: the resources are only listed"
    awk '$1 == "kind:" { kind = $2 } /^  name: / { print "  " kind "/" $2 }' "$top/rendered.yaml"
  fi
{%- if database == "postgres" %}
  kubectl kustomize "$migrations" >/dev/null || fail "$migrations does not render"
  say "before that: $migrations; if it fails, nothing else is applied"
{%- endif %}
  say "then: rollout status, readiness through Service/$name, and on failure: rollout undo"
  exit 0
fi

# The revision that serves at present; empty if this is the first.
revision() {
  "${kube[@]}" get "$deployment" --ignore-not-found \
    --output 'jsonpath={.metadata.annotations.deployment\.kubernetes\.io/revision}'
}
before=$(revision) || fail "the cluster does not respond"
judge >/dev/null || fail "$refused"
{%- if database == "postgres" %}

# === Run the migrations ===

say "migrating the database"
# The namespace, and the resources that create the Secret.
if grep -q '^    apply: first$' "$top/rendered.yaml"; then
  kubectl apply --filename "$top/rendered.yaml" --selector apply=first
fi
scripts/migrate.sh "$migrations" "$image" || fail "the migration failed; nothing was rolled out, and the previous version still serves"
{%- endif %}

# === Wait, verify, or roll back ===

undo() {
  printf 'deploy: %s\n' "$1" >&2
  "${kube[@]}" get pods --selector "app.kubernetes.io/name=$name" >&2 || true
  "${kube[@]}" logs "$deployment" --tail=20 >&2 || true
  if [ -z "$before" ]; then
    fail "there is no earlier version to roll back to; the failed rollout stays as it is, for inspection"
  fi
  if [ "$(revision)" = "$before" ]; then
    fail "the pods were not changed, so there is nothing to undo"
  fi
  say "rolling back"
  "${kube[@]}" rollout undo "$deployment" "--to-revision=$before" >&2 || fail "the rollback failed, too"
  "${kube[@]}" rollout status "$deployment" "--timeout=$timeout" >&2 || fail "the rollback did not finish"
  fail "$image was rolled back; the previous version serves"
}

kubectl apply --filename "$top/rendered.yaml" || undo "not everything was applied"

say "waiting for the rollout"
"${kube[@]}" rollout status "$deployment" "--timeout=$timeout" || undo "$image did not roll out in $timeout"

say "checking the readiness through the Service"
scripts/readiness.sh "${kube[@]:1}" "$name" || undo "the Service does not say that it is ready"

say "$image serves"

#!/usr/bin/env bash
# buildah does not find a stage that a later FROM names with the default value of a global ARG; with the same value as
# --build-arg it does.
#
# Software: buildah 1.28.2 (Debian 12), which podman 4.3.1 builds with.
# Expected: `ARG LAST=plain` before the first FROM gives ${LAST} in every FROM its value, so `FROM last-${LAST}` is the stage
#   last-plain, as with Docker.
# Instead: buildah decides which stages are needed before it expands the default. It skips the stage, and then takes its name
#   for an image to pull. An argument that only repeats the default changes the result. (Newer versions were not tried.)
# Who is hurt: whoever builds a Dockerfile with variants chosen by an argument (`FROM ${VARIANT}`) with Debian's podman. The
#   error names a registry's configuration, which has nothing to do with it.
#
# Seen 2026-11-30: "by default: 125, with --build-arg LAST=plain: 0".
#
# Exits with 0 while this holds.
set -euo pipefail

command -v buildah >/dev/null || { echo "needs buildah (apt-get install buildah)" >&2; exit 2; }
folder=$(mktemp -d)
store=(--root "$folder/images" --runroot "$folder/running" --storage-driver vfs)
cleanup() {
  buildah "${store[@]}" rmi --all --force >/dev/null 2>&1 || true
  rm -rf "$folder"
}
trap cleanup EXIT
buildah --version

mkdir "$folder/context"
echo text >"$folder/context/file"
cat >"$folder/context/Dockerfile" <<'DOCKERFILE'
ARG LAST=plain
FROM scratch AS last-plain
COPY file /
FROM last-${LAST}
DOCKERFILE

build() {
  local code=0
  buildah "${store[@]}" bud --quiet "$@" "$folder/context" >"$folder/log" 2>&1 || code=$?
  tail -n 1 "$folder/log" >&2
  echo "$code"
}
seen="by default: $(build), with --build-arg LAST=plain: $(build --build-arg LAST=plain)"
echo "$seen"
[ "$seen" = "by default: 125, with --build-arg LAST=plain: 0" ]

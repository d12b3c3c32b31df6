# Runs in the container of newest.Dockerfile, in the folder of a generated service: builds it for arm64 in both variants
# that the Dockerfiles make, and starts, asks and stops each under qemu.
set -euo pipefail
target=aarch64-unknown-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc

# The feature of rustc, and the type of the executable: with EXEC, the kernel cannot place it at random addresses (ASLR).
for variant in +crt-static:EXEC -crt-static:DYN; do
    feature=${variant%:*}
    RUSTFLAGS="-C target-feature=$feature" cargo build --quiet --target "$target"
    binary=$CARGO_TARGET_DIR/$target/debug/$SERVICE
    kind=$(aarch64-linux-gnu-readelf --file-header "$binary" | awk '/Type:/ { print $2 }')
    if [ "$kind" != "${variant#*:}" ]; then
        echo "error: with $feature the executable is $kind: docs/images.md says ${variant#*:}" >&2
        exit 1
    fi

    qemu-aarch64 "$binary" >/tmp/log 2>&1 &
    service=$!
    curl --silent --show-error --fail --retry 60 --retry-delay 1 --retry-connrefused localhost:8080/health/readiness >/dev/null
    curl --silent --show-error --fail localhost:8080/ >/dev/null
    curl --silent --show-error --fail localhost:9090/metrics | grep -q '^http_server_request_duration_seconds_count'
    kill -TERM "$service"
    if ! wait "$service"; then
        cat /tmp/log >&2
        echo "error: with $feature it does not stop in order" >&2
        exit 1
    fi
    echo "arm64, $feature: $kind, answers, and stops with exit code 0"
done

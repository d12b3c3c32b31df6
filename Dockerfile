# An image of any Cargo project, unedited, with Debian's shell and packages: `docker build .` (docs/images.md).
# cc: linked with the C library of the base; static: without. Dockerfile.distroless makes smaller images.
ARG VARIANT=cc DEBIAN=trixie

# --- Alike in Dockerfile and Dockerfile.distroless from here on ----------------------------------
# TOOLS= where crates.io is out of reach: dependencies are no layer then, and the binary has no list of them.
ARG RUST_VERSION=1.95 TOOLS="cargo-chef@0.1.78 cargo-auditable@0.7.7" HEALTHCHECK=service
# Unquoted arguments are words, mirrors drop old versions, the builder keeps apt's lists; the rest a stage inherits.
# hadolint global ignore=DL3006,DL3008,DL3009,DL3045,DL4006,SC2086

FROM rust:${RUST_VERSION}-slim-${DEBIAN} AS rust
SHELL ["/bin/bash", "-eo", "pipefail", "-c"]
ENV CARGO_TARGET_DIR=/target CARGO_INCREMENTAL=0 RUSTC_WRAPPER=
WORKDIR /build
# Builds that share the cache mount of cargo's registry share cargo's lock on it.
RUN mkdir -p "$CARGO_HOME/registry"; ln -s registry/.package-cache "$CARGO_HOME/.package-cache"

FROM rust AS tools
ARG TOOLS
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    mkdir -p /tools/bin; if [ "$TOOLS" ]; then cargo install --quiet --locked --debug --root /tools $TOOLS; fi

# Known vulnerabilities, when they are asked for: `docker build --target audit --build-arg TODAY=$(date -I) .`
FROM rust AS audit
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --no-default-features cargo-audit@0.22.2
COPY . .
ARG TODAY
RUN cargo audit

# What compiles; with the project's own toolchain, if it names one.
FROM rust AS cc
ARG BUILD_PACKAGES TARGET TARGET_CPU TOOLS
RUN if [ "$BUILD_PACKAGES" ]; then apt-get update; apt-get install --yes --no-install-recommends $BUILD_PACKAGES; fi
COPY rust-toolchain* ./
RUN if [ "$TARGET" ]; then rustup target add "$TARGET"; else rustc --version; fi
COPY --from=tools /tools/bin /usr/local/bin
ENV CPU=${TARGET_CPU:+-Ctarget-cpu=$TARGET_CPU}
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=$CPU CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS=$CPU

# What the dependencies are compiled from: this stage runs whenever a file changes, the next ones only if /plan does.
FROM cc AS plan
COPY . .
# Fails before anything is compiled if Cargo.lock is missing or stale.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/usr/local/cargo/git \
    --mount=type=secret,id=cargo-credentials,target=/usr/local/cargo/credentials.toml \
    cargo fetch --quiet --locked; \
    mkdir -p /plan/packages; cargo tree --depth 0 --prefix none | cut -d ' ' -f 1 >/plan/name
# The recipe has the workspace's manifests. Packages outside of the workspace go beside it, and vendored ones get a date
# that never changes: in a new clone they would be newer than what was compiled from them.
RUN if [ -z "$TOOLS" ]; then exit; fi; \
    cargo chef prepare --recipe-path /plan/recipe.json; \
    grep -o '[^"]*Cargo\.toml' /plan/recipe.json | sort >/members; \
    find . -name Cargo.toml -printf '%P\n' | sort | comm -13 /members - | \
        xargs -rd '\n' dirname | xargs -rd '\n' cp -r --parents --target-directory /plan/packages; \
    find /plan/packages -name .cargo-checksum.json -printf '%h\n' | xargs -rI PACKAGE find PACKAGE -exec touch -hd @0 {} +

FROM cc AS static
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-Ctarget-feature=+crt-static $CPU" \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-Ctarget-feature=+crt-static $CPU"

# The dependencies: a layer, which a registry's cache carries to other machines; compiled in a cache mount, so that on
# this machine a new one compiles itself alone. If they do not compile, the build goes on, and fails with cargo's error.
FROM ${VARIANT} AS dependencies
ARG PACKAGE BIN EXAMPLE FEATURES PROFILE=release VARIANT CACHE_ID
ENV CHOICE="--profile $PROFILE ${PACKAGE:+--package $PACKAGE} ${BIN:+--bin $BIN} ${FEATURES:+--features $FEATURES}"
COPY --from=plan /plan /plan
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/usr/local/cargo/git \
    --mount=type=secret,id=cargo-credentials,target=/usr/local/cargo/credentials.toml \
    --mount=type=cache,id=cargo-target,target=/cache,sharing=locked \
    if [ -z "$TOOLS" ]; then exit; fi; \
    read -r name </plan/name; cache=/cache/$VARIANT-$name$CACHE_ID; mkdir -p "$cache"; \
    if [ "$(du -sm "$cache" | cut -f 1)" -gt 4000 ]; then rm -r "$cache"; mkdir "$cache"; fi; \
    cp -a /plan/packages/. .; \
    cargo chef cook --locked --recipe-path /plan/recipe.json $CHOICE ${EXAMPLE:+--examples} --target-dir "$cache" \
        --target "${TARGET:-$(uname -m)-unknown-linux-gnu}" || echo "warning: no layer of dependencies"; \
    rm -r /build; cp -a "$cache" /target

FROM dependencies AS build
ARG REVISION CREATED
COPY --from=plan /build .
# Sources have to be newer than the empty ones that were compiled in their place, and dependencies as old as they were.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/usr/local/cargo/git \
    --mount=type=secret,id=cargo-credentials,target=/usr/local/cargo/credentials.toml \
    find . -exec touch -h {} +; cp -a /plan/packages/. .; \
    cargo ${TOOLS:+auditable} build --locked $CHOICE ${EXAMPLE:+--example "$EXAMPLE"} \
        --target "${TARGET:-$(uname -m)-unknown-linux-gnu}" --message-format json-render-diagnostics >/built
# The executable that cargo names.
RUN grep -o '"executable":"[^"]*' /built | cut -d '"' -f 4 >/executables || true; \
    if [ "$(wc -l </executables)" != 1 ]; then \
        echo "error: $(wc -l </executables) executables; choose one by --build-arg PACKAGE=, BIN= or EXAMPLE="; \
        cat /executables; exit 1; fi; \
    mkdir -p /out/app/config; cp "$(cat /executables)" /out/app/service; \
    if [ -d config ]; then cp -r config /out/app; fi; chmod -R a+rX /out/app
# --- Alike up to here ----------------------------------------------------------------------------
FROM debian:${DEBIAN}-slim AS runtime
ARG RUNTIME_PACKAGES
RUN --mount=type=tmpfs,target=/var/lib/apt/lists if [ "$RUNTIME_PACKAGES" ]; then \
        apt-get update && apt-get install --yes --no-install-recommends $RUNTIME_PACKAGES; fi
# The certificates alone: the package would bring openssl along.
COPY --from=rust /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
WORKDIR /app
COPY --from=build /out/app /app
ARG SOURCE VERSION REVISION CREATED
LABEL org.opencontainers.image.source=$SOURCE org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION org.opencontainers.image.created=$CREATED
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/app/service"]

# `docker build --target debug .`: the same image with tools to look around.
FROM runtime AS debug
USER 0
RUN apt-get update && apt-get install --yes --no-install-recommends curl iproute2 procps strace
USER 65532:65532

FROM runtime AS healthcheck-service
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["/app/service", "--health-check"]
FROM runtime AS healthcheck-none
FROM healthcheck-${HEALTHCHECK}

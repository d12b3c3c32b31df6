# An image of any Cargo project on Debian slim: `docker build .`, without edits. A shell and apt's
# packages are there if the service needs them; Dockerfile.distroless makes a smaller one.
# Build arguments, caching and the other targets (audit, debug): docs/images.md.

# cc: linked with the C library of the runtime image; static: no library is needed there.
ARG VARIANT=cc

# --- Alike in Dockerfile and Dockerfile.distroless from here on ----------------------------------
# BuildKit only, and no "# syntax=" line: nothing but the base images is pulled.

ARG RUST_VERSION=1.95
ARG HEALTHCHECK=service

# Always the machine's own architecture: another one is compiled for, not emulated.
# hadolint ignore=DL3029
FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-slim-bookworm AS rust
# hadolint does not see that the stages made from this one inherit it: hence each DL4006, SC3024 below.
SHELL ["/bin/bash", "-eo", "pipefail", "-c"]
# One target directory, whatever the project's own configuration says, and no compiler wrapper
# that a developer's machine has and this one has not.
ENV CARGO_TARGET_DIR=/target CARGO_INCREMENTAL=0 RUSTC_WRAPPER=
WORKDIR /build
# What shares the cache mount of cargo's registry shares cargo's lock on it.
RUN mkdir -p "$CARGO_HOME/registry"; ln -s registry/.package-cache "$CARGO_HOME/.package-cache"

# cargo-auditable writes the list of crates into the binary. Unoptimised: it only wraps rustc.
FROM rust AS tools
ARG AUDITABLE=true
ARG CARGO_AUDITABLE_VERSION=0.7.7
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \
    mkdir -p /tools/bin; \
    if [ "$AUDITABLE" = true ]; then \
        cargo install --quiet --locked --debug --root /tools "cargo-auditable@$CARGO_AUDITABLE_VERSION"; \
    fi

# `docker build --target audit --build-arg TODAY=$(date -I) .` asks for known vulnerabilities. Not
# a part of the image's own build: an advisory of today does not break a build of yesterday.
FROM rust AS audit
ARG CARGO_AUDIT_VERSION=0.22.2
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \
    cargo install --quiet --locked --debug --root /usr/local "cargo-audit@$CARGO_AUDIT_VERSION"
COPY . .
ARG AUDIT_ARGS
ARG TODAY
# AUDIT_ARGS are words: "--ignore RUSTSEC-…", or "--no-fetch --db advisories" where GitHub is out of reach.
# hadolint ignore=SC2086
RUN cargo audit $AUDIT_ARGS

# The toolchain that the project asks for, and what compiles for the image's architecture.
FROM rust AS toolchain
ARG BUILDARCH
ARG TARGETARCH
ARG LIBC=gnu
ARG BUILD_PACKAGES
# Debian's versions are those of the base image's release: pinned ones vanish from its mirrors.
# hadolint ignore=DL3008,SC2086,SC3024
RUN case $TARGETARCH in \
        amd64) cpu=x86_64; gcc=gcc-x86-64-linux-gnu ;; \
        arm64) cpu=aarch64; gcc=gcc-aarch64-linux-gnu ;; \
        *) echo "error: no build for $TARGETARCH, only for amd64 and arm64" >&2; exit 1 ;; \
    esac; \
    echo "$cpu-unknown-linux-$LIBC" >/triple; echo "$cpu-linux-gnu-gcc" >/linker; \
    packages=$BUILD_PACKAGES; \
    if [ "$TARGETARCH" != "$BUILDARCH" ]; then \
        dpkg --add-architecture "$TARGETARCH"; packages+=" $gcc libc6-dev-$TARGETARCH-cross"; \
    fi; \
    if [ "$LIBC" = musl ]; then packages+=" musl-tools"; fi; \
    if [ -n "$packages" ]; then \
        apt-get update; apt-get install --yes --no-install-recommends $packages; \
        rm -rf /var/lib/apt/lists/*; \
    fi
COPY rust-toolchain* ./
RUN triple=$(cat /triple); \
    [ -d "$(rustc --print target-libdir --target "$triple")" ] || rustup target add "$triple"

# What the two builds below need to know, and a skeleton of the project: its manifests and lock
# file, vendored crates, and an empty source for each target. This stage runs whenever any file
# changes; the next one only if its outcome does.
FROM toolchain AS plan
ARG PACKAGE
ARG BIN
ARG FEATURES
ARG CARGO_FLAGS
ARG PROFILE=release
ARG VARIANT
ARG RUSTFLAGS
ARG TARGET_CPU
COPY . .
# One RUN, for starting a container is most of what this stage takes.
# hadolint ignore=DL4006,SC2046,SC3024
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=cargo-git,target=/usr/local/cargo/git \
    --mount=type=secret,id=cargo-credentials,target=/usr/local/cargo/credentials.toml \
    if [ ! -f Cargo.toml ]; then echo "error: no Cargo.toml in the build context" >&2; exit 1; fi; \
    if [ ! -f Cargo.lock ]; then \
        echo "error: no Cargo.lock in the build context. Images are built with --locked: run" \
            "'cargo generate-lockfile', commit Cargo.lock, and see that .dockerignore lets it in." >&2; \
        exit 1; \
    fi; \
    # Changes nothing: fails here, before anything is compiled, if the lock file is out of date.
    cargo update --quiet --workspace --locked; \
    \
    # The binary: the one there is; else BIN (an example's name will do too) and PACKAGE decide, and
    # among what they leave open the workspace's default members and `default-run`, as with cargo run.
    mkdir -p /plan/.cargo; \
    cargo metadata --offline --no-deps --format-version 1 >/tmp/metadata; \
    sed 's/{"name":"\|{"kind":\[\|"workspace_default_members":/\n&/g' /tmp/metadata | \
    awk -F '"' -v package="$PACKAGE" -v bin="$BIN" ' \
        # {"name":"…","version":"…","id":"…"
        /^{"name":/ && $6 == "version" { owner = $4; id = $12 } \
        # {"kind":["bin"],"crate_types":["bin"],"name":"…"
        /^{"kind":/ && $8 == "bin" && ($4 == "bin" || $4 == "example") { \
            n++; kind[n] = $4; name[n] = $12; in_package[n] = owner; ids[n] = id \
        } \
        match($0, /"default_run":"[^"]*/) { default_run[owner] = substr($0, RSTART + 15, RLENGTH - 15) } \
        /^"workspace_default_members":/ { default_members = $0; sub(/\].*/, "", default_members) } \
        END { \
            for (i = 1; i <= n; i++) { \
                if (kind[i] == "bin") all = all "\n  --build-arg PACKAGE=" in_package[i] " --build-arg BIN=" name[i]; \
                if (package != "" && package != in_package[i]) continue; \
                if (bin == "" ? kind[i] != "bin" : bin != name[i]) continue; \
                score = 1 + 4 * (index(default_members, "\"" ids[i] "\"") > 0) \
                    + 2 * (default_run[in_package[i]] == name[i]) + (kind[i] == "bin"); \
                if (score > best) { best = score; chosen = i; ties = 0 } else if (score == best) ties++; \
            } \
            if (!best || ties) { \
                print "error: " (best ? ties + 1 " binaries fit" : "no binary fits") \
                    " PACKAGE=\"" package "\" BIN=\"" bin "\"; choose one of:" all; \
                exit 1; \
            } \
            print "--package " in_package[chosen] " --" kind[chosen] " " name[chosen] >"/plan/choice"; \
            print (kind[chosen] == "bin" ? "" : "examples/") name[chosen] >"/plan/artifact"; \
        }' >&2; \
    \
    # How cargo is called, and what that makes.
    triple=$(cat /triple); \
    echo "$(cat /plan/choice) --profile $PROFILE --target $triple ${FEATURES:+--features ${FEATURES// /,}} $CARGO_FLAGS" >/plan/cargo-args; \
    case $PROFILE in dev | test) dir=debug ;; bench) dir=release ;; *) dir=$PROFILE ;; esac; \
    echo "/target/$triple/$dir/$(cat /plan/artifact)" >/plan/artifact; \
    case $VARIANT-$triple in \
        static-*-gnu) RUSTFLAGS+=" -Ctarget-feature=+crt-static" ;; \
        static-* | cc-*) ;; \
        *) echo "error: VARIANT is static or cc, not '$VARIANT'" >&2; exit 1 ;; \
    esac; \
    if [ -n "$TARGET_CPU" ]; then RUSTFLAGS+=" -Ctarget-cpu=$TARGET_CPU"; fi; \
    # In cargo's configuration rather than its environment, so that they join the project's own.
    { echo "[target.$triple]"; echo "linker = \"$(cat /linker)\""; \
      for flag in $RUSTFLAGS; do printf '"%s", ' "$flag"; done | sed 's/.*/rustflags = [&]/'; echo; } >/plan/.cargo/config.toml; \
    \
    # The skeleton: vendored crates, links and cargo's settings as they are, then each manifest. Vendored files
    # are given one old date: build scripts would run again for a newer one, and in a new clone all are.
    skeleton=/plan/build; mkdir -p $skeleton; \
    find . -name .cargo-checksum.json -printf '%h\0' >/tmp/vendored; \
    xargs -0r cp -r --parents -t $skeleton </tmp/vendored; xargs -0r rm -rf </tmp/vendored; \
    find $skeleton -type f -exec touch -d 2000-01-01 {} +; \
    find . -type l -xtype d -exec cp -P --parents -t $skeleton {} +; \
    cp -r --parents -t $skeleton $(ls -d .cargo rust-toolchain* 2>/dev/null) Cargo.lock; \
    find . -name Cargo.toml >/tmp/manifests; \
    # The project's own version is left out, so that a release does not compile every dependency
    # again, unless something in the project may ask for it.
    mask=1; \
    if xargs grep -qE 'path *=.*version *=|version *=.*path *=|^\[(patch|replace)|^\[.*dependencies\.' </tmp/manifests; then mask=0; fi; \
    awk -v mask=$mask -v RS= -v ORS='\n\n' ' \
        mask && !/\nsource = / { sub(/\nversion = "[^"]*"/, "\nversion = \"0.0.0\"") } \
        { print }' Cargo.lock >$skeleton/Cargo.lock; \
    while read -r manifest; do \
        mkdir -p "$skeleton/$(dirname "$manifest")"; \
        # Without lints: the empty sources have nothing to be warned of.
        awk -v mask=$mask ' \
            /^\[/ { section = $1 } \
            section ~ /^\[(workspace\.)?lints/ || /^lints\.workspace/ { next } \
            mask && section ~ /^\[(workspace\.)?package\]/ && /^version *= *"/ { $0 = "version = \"0.0.0\"" } \
            { print }' "$manifest" >"$skeleton/$manifest"; \
        # Path dependencies outside the workspace are asked one by one; a manifest that cargo cannot
        # read (a template, a fixture) belongs to no build.
        grep -qsF "\"manifest_path\":\"$(realpath "$manifest")\"" /tmp/metadata || \
            cargo metadata --offline --no-deps --format-version 1 --manifest-path "$manifest" 2>/dev/null >>/tmp/metadata || true; \
    done </tmp/manifests; \
    grep -o '"src_path":"[^"]*"' /tmp/metadata | cut -d '"' -f 4 | xargs -r -d '\n' realpath --canonicalize-missing | sort -u | while read -r source; do \
        mkdir -p "/plan$(dirname "$source")"; \
        printf '#![allow(warnings)]\nfn main() {}\n' >"/plan$source"; \
    done; \
    # Where this project's compiled dependencies are kept from one build to the next.
    { rustc -vV; cat /plan/.cargo/config.toml; xargs grep -h '^name' </tmp/manifests; echo "$PROFILE"; } | \
        sha256sum | cut -c 1-16 >/plan/cache-key

# The dependencies: a layer of its own, which a registry cache can carry to another machine, and on
# this machine a cache mount, from which a changed Cargo.lock compiles only what is new.
FROM toolchain AS dependencies
ARG CACHE_ID
COPY --from=plan /plan /
# cargo-args are words.
# hadolint ignore=DL4006,SC2046
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=cargo-git,target=/usr/local/cargo/git \
    --mount=type=cache,id=cargo-target,target=/cache \
    --mount=type=secret,id=cargo-credentials,target=/usr/local/cargo/credentials.toml \
    cache=/cache/$(cat /cache-key)$CACHE_ID; \
    # Locked while it is copied, not while cargo works: other builds of this machine do not wait for that.
    exec {lock}</cache; flock $lock; \
    if [ -d "$cache" ]; then touch "$cache"; cp -a "$cache" /target; fi; \
    flock -u $lock; \
    cargo build $(cat /cargo-args); \
    flock $lock; \
    rm -rf "$cache" "$cache.new"; cp -a /target "$cache.new"; touch "$cache.new"; mv "$cache.new" "$cache"; \
    # What no build has used for two weeks, and what has grown by many changes of the lock file.
    find /cache -mindepth 1 -maxdepth 1 -mtime +14 -exec rm -r {} +; \
    if [ "$(du -sm "$cache" | cut -f 1)" -gt 4096 ]; then rm -r "$cache"; fi

# The service. A copy is newer than the empty sources that were compiled in its place; vendored crates
# stay as they were compiled, for a newer file would have their build scripts run again.
FROM dependencies AS build
COPY --from=tools /tools/bin /usr/local/bin
ARG AUDITABLE=true
ARG CONFIG=config
ARG REVISION
ARG CREATED
# hadolint ignore=SC2046
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=cargo-git,target=/usr/local/cargo/git \
    --mount=type=secret,id=cargo-credentials,target=/usr/local/cargo/credentials.toml \
    --mount=type=bind,from=plan,source=/build,target=/project \
    cp -r /project/. .; \
    [ -n "$REVISION" ] || unset REVISION; [ -n "$CREATED" ] || unset CREATED; \
    if [ "$AUDITABLE" = true ]; then auditable=auditable; else auditable=; fi; \
    cargo $auditable build --locked $(cat /cargo-args); \
    install -D "$(cat /artifact)" /out/app/service; \
    mkdir /out/app/config; \
    if [ -d "$CONFIG" ]; then cp -r "$CONFIG"/. /out/app/config; fi; \
    # Readable for any user, whatever the umask of who checked it out.
    chmod -R a+rX /out/app

# --- Alike up to here ----------------------------------------------------------------------------

FROM debian:bookworm-slim AS runtime
ARG RUNTIME_PACKAGES
# hadolint ignore=DL3008,SC2086
RUN if [ -n "$RUNTIME_PACKAGES" ]; then \
        apt-get update && apt-get install --yes --no-install-recommends $RUNTIME_PACKAGES && \
        rm -rf /var/lib/apt/lists/*; \
    fi
# The certificates alone: the package would bring openssl along.
COPY --from=rust /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
WORKDIR /app
COPY --from=build /out/app /app
ARG SOURCE
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.source=$SOURCE \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.created=$CREATED
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/app/service"]

# `docker build --target debug .`: the same image with tools to look around.
FROM runtime AS debug
USER 0
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends curl iproute2 procps strace && \
    rm -rf /var/lib/apt/lists/*
USER 65532:65532

# A service on the chassis asks itself; --build-arg HEALTHCHECK=none is for one that cannot.
FROM runtime AS healthcheck-service
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["/app/service", "--health-check"]

FROM runtime AS healthcheck-none
HEALTHCHECK NONE

# hadolint ignore=DL3006
FROM healthcheck-${HEALTHCHECK}

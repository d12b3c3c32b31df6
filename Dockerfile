# Copy this file into any Cargo project, unchanged: an image with Debian's shell and packages, `docker build .` (docs/images.md).
ARG VARIANT=cc HEALTHCHECK=service
# hadolint's rules that do not fit: stages have no tags and inherit WORKDIR; Debian drops old versions, and a build stage
# may keep apt's lists; the script in stage `static` is quoted on purpose, and an argument may hold several words.
# hadolint global ignore=DL3006,DL3008,DL3009,DL3045,SC2016,SC2086
FROM rust:1.95-slim-trixie AS rust
# Turns off incremental compilation, and a compiler cache (sccache) that the project's .cargo/config.toml may set.
ENV CARGO_TARGET_DIR=/target CARGO_INCREMENTAL=0 RUSTC_WRAPPER=
WORKDIR /build
# cargo-chef compiles dependencies before the sources are copied; cargo-auditable adds the list of crates to the executable.
FROM rust AS tools
RUN cargo install --quiet --locked --debug --root /tools cargo-chef@0.1.78 cargo-auditable@0.7.7
# Reports known vulnerabilities: `docker build --target audit --build-arg TODAY=$(date -I) .` (TODAY only invalidates the cache.)
FROM rust AS audit
RUN cargo install --quiet --locked --debug --no-default-features cargo-audit@0.22.2
COPY . .
ARG TODAY
RUN cargo audit
# The compiler stage: Rust, the Debian packages that the build needs, and the tools.
FROM rust AS compiler
ARG BUILD_PACKAGES
RUN if [ "$BUILD_PACKAGES" ]; then apt-get update && apt-get install --yes --no-install-recommends $BUILD_PACKAGES; fi
# If there is a toolchain file, `rustc --version` installs its toolchain. (.dockerignore is here because buildah needs a match.)
COPY .dockerignore* rust-toolchain* ./
RUN rustc --version
COPY --from=tools /tools/bin /usr/local/bin
# Dependencies are compiled from /plan: the recipe (manifests and Cargo.lock) and vendor/. This stage runs after every change,
# the next stage only if /plan has changed.
FROM compiler AS plan
# Names Cargo.lock, so that a build without this file fails.
COPY Cargo.lock . ./
# Cargo recompiles files with newer dates, and each clone has new dates. So vendor/ gets a fixed date.
RUN mkdir -p vendor /plan && find vendor -exec touch -hd @0 {} + && cp -a vendor /plan && \
    cargo chef prepare --recipe-path /plan/recipe.json
# The layer of dependencies. It stays empty if a package is neither in the workspace nor in vendor/ (docs/images.md).
FROM compiler AS dependencies
ARG PACKAGE BIN EXAMPLE FEATURES PROFILE=release
# Docker expands this to Cargo's options for the arguments that are set.
ENV CHOICE="--profile=$PROFILE ${PACKAGE:+--package=$PACKAGE} ${BIN:+--bin=$BIN} ${FEATURES:+--features=$FEATURES}"
COPY --from=plan /plan .
# Creates empty sources, and downloads the crates. Only `cargo fetch` can read the registry's token, not the steps that compile.
RUN --mount=type=secret,id=cargo-credentials,target=/usr/local/cargo/credentials.toml \
    cargo chef cook --no-build && cargo fetch --locked || echo "warning: no layer of dependencies"
# Removes the folder, so that no empty source of cargo-chef replaces a missing file. Docker creates the folder again.
RUN cargo chef cook --locked --offline $CHOICE ${EXAMPLE:+--examples} || echo "warning: no layer of dependencies"; \
    rm -r /build
# VARIANT=cc: the executable uses the C library of the runtime image; static: it contains one. A wrapper around rustc adds
# the flag, only for executables (CARGO_BIN_NAME is set), because RUSTFLAGS would replace the project's `[build] rustflags`.
FROM dependencies AS cc
FROM dependencies AS static
ENV RUSTC_WRAPPER=/usr/local/bin/rustc-static
RUN printf '#!/bin/sh\nexec "$@" ${CARGO_BIN_NAME:+-Ctarget-feature=+crt-static}\n' >$RUSTC_WRAPPER && chmod +x $RUSTC_WRAPPER
FROM ${VARIANT} AS build
# Copies the sources. All except vendor/ get today's date, newer than compiled files. Downloads crates if the layer is empty.
COPY --from=plan /build .
RUN --mount=type=secret,id=cargo-credentials,target=/usr/local/cargo/credentials.toml \
    cargo fetch --locked && find . -path ./vendor -prune -o -exec touch -h {} +
# `cargo run` chooses the executable: the only one, `default-run`, or the one named above. It is not run: the runner
# `install -D` gets its path and `/app/service`, and copies it. A build script or `env!` can read REVISION and CREATED.
ARG EXAMPLE REVISION CREATED
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="install -D" CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="install -D"
RUN cargo auditable run --locked --offline $CHOICE ${EXAMPLE:+--example=$EXAMPLE} -- /app/service || \
    { echo "note: .dockerignore leaves out each file that is missing here but not in your checkout"; exit 1; }
# Copies config/default.toml (for every environment) and config/production.toml, if the project has them.
RUN mkdir -p /app/config && find . -regex './config/\(default\|production\).toml' -exec install -m 644 -t /app/config {} +
# --- From `FROM rust` to here, Dockerfile and Dockerfile.distroless are alike ---
FROM debian:trixie-slim AS runtime
ARG RUNTIME_PACKAGES
RUN --mount=type=tmpfs,target=/var/lib/apt/lists if [ "$RUNTIME_PACKAGES" ]; then \
        apt-get update && apt-get install --yes --no-install-recommends $RUNTIME_PACKAGES; fi
# (The mount keeps apt's lists out of the image.) Copies only the certificates, because their package would install openssl.
COPY --from=rust /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
WORKDIR /app
COPY --from=build /app .
ENV RUN_ENV=production
ARG SOURCE VERSION REVISION CREATED
LABEL org.opencontainers.image.source=$SOURCE org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION org.opencontainers.image.created=$CREATED
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["/app/service"]
# `docker build --target debug .`: the same image with tools for debugging.
FROM runtime AS debug
USER 0
RUN apt-get update && apt-get install --yes --no-install-recommends curl iproute2 procps strace
USER 65532:65532
FROM runtime AS healthcheck-service
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["/app/service", "--health-check"]
FROM runtime AS healthcheck-none
FROM healthcheck-${HEALTHCHECK}

# Only to be measured against the Dockerfiles at the root: one build, its target in a cache mount.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
ENV RUSTFLAGS=-Ctarget-feature=+crt-static
ARG CACHE_ID
COPY . .
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=cache-mounts,target=/cache \
    # COPY may bring a file with the time of an older layer: cargo would take the old binary for fresh.
    find . -name '*.rs' -exec touch {} + && \
    CARGO_TARGET_DIR="/cache/$CACHE_ID" cargo build --release --locked --target x86_64-unknown-linux-gnu && \
    cp "/cache/$CACHE_ID"/x86_64-unknown-linux-gnu/release/plain-axum /service

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /service /app/service
ENTRYPOINT ["/app/service"]

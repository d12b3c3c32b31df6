# Only to be measured against the Dockerfiles at the root: dependencies in a layer, by cargo-chef.
FROM rust:1.95-slim-bookworm AS chef
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \
    cargo install --quiet --locked --debug cargo-chef@0.1.78
WORKDIR /build

FROM chef AS plan
COPY . .
RUN cargo chef prepare

FROM chef AS build
ENV RUSTFLAGS=-Ctarget-feature=+crt-static
ARG CACHE_ID
COPY --from=plan /build/recipe.json .
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \
    cargo chef cook --release --locked --target x86_64-unknown-linux-gnu
COPY . .
RUN --mount=type=cache,id=cargo-registry,target=/usr/local/cargo/registry \
    cargo build --release --locked --target x86_64-unknown-linux-gnu && \
    cp target/x86_64-unknown-linux-gnu/release/plain-axum /service

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /service /app/service
ENTRYPOINT ["/app/service"]

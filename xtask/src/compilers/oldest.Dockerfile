# The oldest Rust at or above the rust-version of the tests that Debian's mirrors still have, as packages of no suite any more.
FROM debian:trixie-slim
RUN printf 'deb http://deb.debian.org/debian sid main\n' >/etc/apt/sources.list.d/sid.list \
    && printf 'Acquire::Check-Valid-Until "false";\n' >/etc/apt/apt.conf.d/90oldest
ARG RUSTC=1.94.1+dfsg1-1
WORKDIR /packages
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends ca-certificates curl gcc git kubectl libc6-dev procps \
    && for package in cargo libstd-rust-1.94 libstd-rust-dev rust-clippy rustc rustfmt; do \
       curl -fsSO "http://deb.debian.org/debian/pool/main/r/rustc/${package}_${RUSTC}_amd64.deb" || exit 1; done \
    && apt-get install -y -qq --no-install-recommends ./*.deb

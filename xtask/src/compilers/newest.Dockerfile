# The newest Rust that Debian has, with Clippy, and what builds and runs programs for arm64.
FROM debian:trixie-slim
# experimental has releases before sid does. A mirror may be some weeks behind, hence no date check.
RUN printf 'deb http://deb.debian.org/debian %s main\n' sid experimental >/etc/apt/sources.list.d/newest.list \
    && printf 'Package: src:rustc:any\nPin: release a=experimental\nPin-Priority: 990\n' >/etc/apt/preferences.d/rust \
    && printf 'Acquire::Check-Valid-Until "false";\n' >/etc/apt/apt.conf.d/90newest \
    && dpkg --add-architecture arm64
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --target-release sid \
       ca-certificates cargo curl gcc gcc-aarch64-linux-gnu git kubectl libc6-dev libc6-dev:arm64 libstd-rust-dev:arm64 procps \
       qemu-user rust-clippy rustc rustfmt

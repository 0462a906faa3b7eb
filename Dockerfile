# syntax=docker/dockerfile:1
# The exporter as one static file: no shell, no libc, uid 65534, a root file system that may be read-only.
#
#   docker build --build-arg REVISION=$(git rev-parse --short=12 HEAD) -t coturn-exporter .

# Alpine's tool chain links musl statically by itself. The version is that of the release builds; the least is rust-version in
# Cargo.toml.
FROM rust:1.95.0-alpine AS build
# A C compiler and its headers: for ring and SQLite. ca-certificates: what a TLS to Redis, PostgreSQL or a web hook is trusted by.
# hadolint ignore=DL3018
RUN apk add --no-cache build-base ca-certificates
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
# What SQLite is built with.
COPY .cargo ./.cargo
COPY src ./src
# The rules of `demo` are compiled in; Cargo.toml names the benchmarks.
COPY alerts ./alerts
COPY benches ./benches
ARG REVISION=
RUN COTURN_EXPORTER_REVISION="$REVISION" COTURN_EXPORTER_RUSTC="$RUST_VERSION" \
        cargo build --locked --release --bin coturn-exporter \
    && mkdir -p /root-of-image/var/lib/coturn-exporter /root-of-image/etc/ssl/certs /root-of-image/tmp \
    && chmod 700 /root-of-image/var/lib/coturn-exporter \
    && cp target/release/coturn-exporter /root-of-image/coturn-exporter \
    && cp /etc/ssl/certs/ca-certificates.crt /root-of-image/etc/ssl/certs/

FROM scratch
ARG VERSION=0.2.0
ARG REVISION=
LABEL org.opencontainers.image.title="coturn-exporter" \
      org.opencontainers.image.description="Prometheus exporter for coturn, from its Redis event stream" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# A volume that is mounted here for the first time gets the owner from here.
COPY --from=build --chown=65534:65534 /root-of-image/ /
# By number: there is no /etc/passwd, and Kubernetes' runAsNonRoot wants one.
USER 65534:65534
# Give flags as variables (COTURN_EXPORTER_...): the health check reads those of the address and of TLS, and no command line.
EXPOSE 10641
# Healthy while the process can serve: it never depends on Redis, and is so while a store is loaded.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=4 CMD ["/coturn-exporter", "healthcheck"]
ENTRYPOINT ["/coturn-exporter"]

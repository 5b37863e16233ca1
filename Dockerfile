# syntax=docker/dockerfile:1
# One image for every role: docker build -t eventflow:local . && docker run --rm eventflow:local --help
# The last stage has one static program and the certificate authorities it trusts: no shell, no package manager, nothing writable.

FROM rust:1.95.0-slim-bookworm AS rust
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ make musl-tools perl \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add "$(uname -m)-unknown-linux-musl" \
 && cargo install --locked cargo-chef@0.1.78
WORKDIR /src

FROM rust AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM rust AS build
# As in infra/image/rootfs; otherwise the dependencies would be built for another C library.
ENV CC=musl-gcc CARGO_PROFILE_RELEASE_STRIP=debuginfo
COPY --from=plan /src/recipe.json .
# Dependencies have a layer of their own, rebuilt only when they change.
RUN cargo chef cook --locked --release --target "$(uname -m)-unknown-linux-musl" \
    -p eventflow --no-default-features --features static,msk-iam --recipe-path recipe.json
COPY . .
RUN infra/image/rootfs /rootfs

FROM scratch
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="EventFlow" \
      org.opencontainers.image.description="Signed webhooks in, accounted-for rows out" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /rootfs /
ENV EVENTFLOW_OPS_LISTEN=0.0.0.0:9100 \
    EVENTFLOW_LOG_JSON=true \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
ENTRYPOINT ["/eventflow"]
CMD ["--help"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/eventflow", "healthcheck"]

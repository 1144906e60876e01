# syntax=docker/dockerfile:1
# Dependencies are compiled in a layer of their own (cargo-chef), which only a change of Cargo.toml or Cargo.lock renews.

FROM rust:1.95-slim-bookworm AS chef
RUN cargo install --locked cargo-chef
WORKDIR /build

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=plan /build/recipe.json recipe.json
RUN cargo chef cook --release --locked --recipe-path recipe.json
COPY . .
# Queries are compiled against the committed .sqlx; a build needs no server.
ENV SQLX_OFFLINE=true
RUN cargo build --release --locked

# Backup and restore need pg_dump and pg_restore of the server's version, so they run in the server's own image.
FROM postgres:17-bookworm AS backup
RUN useradd --uid 1000 --user-group --no-create-home --shell /usr/sbin/nologin forecastd \
    && install --directory --owner forecastd --group forecastd --mode 0750 /var/lib/forecastd /backup
COPY --from=build /build/target/release/forecastd /usr/local/bin/forecastd
USER forecastd
WORKDIR /backup
ENV FORECASTD_DATA_DIR=/var/lib/forecastd
ENTRYPOINT ["forecastd"]
CMD ["backup", "/backup"]

FROM debian:bookworm-slim AS run
# Certificates for data providers and for a Postgres reached by TLS; the database itself is another container.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --user-group --no-create-home --shell /usr/sbin/nologin forecastd \
    && install --directory --owner forecastd --group forecastd --mode 0750 /var/lib/forecastd
COPY --from=build /build/target/release/forecastd /usr/local/bin/forecastd
USER forecastd
WORKDIR /var/lib/forecastd
ENV FORECASTD_LISTEN=0.0.0.0:8080 \
    FORECASTD_DATA_DIR=/var/lib/forecastd
VOLUME /var/lib/forecastd
EXPOSE 8080
# The first start imports and trains before it is ready, but it answers from the beginning.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["forecastd", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["forecastd"]
CMD ["serve"]

# The service as a small image: built in one stage, run in another without a toolchain.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package tradepost

FROM debian:bookworm-slim
# A volume that is mounted over the folder of pictures belongs to whom the folder belongs to.
RUN useradd --system --uid 10001 --home-dir /var/lib/tradepost tradepost \
    && install --directory --owner=tradepost --mode=0700 /var/lib/tradepost /var/lib/tradepost/media
COPY --from=build /source/target/release/tradepost /usr/local/bin/tradepost
USER tradepost
WORKDIR /var/lib/tradepost
EXPOSE 8080
ENV TRADEPOST_HTTP__BIND=0.0.0.0:8080
ENV TRADEPOST_MEDIA__FOLDER=/var/lib/tradepost/media
ENTRYPOINT ["tradepost"]
CMD ["serve"]

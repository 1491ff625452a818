# The service as a small image: built in one stage, run in another without a toolchain.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package tradepost

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 tradepost
COPY --from=build /source/target/release/tradepost /usr/local/bin/tradepost
USER tradepost
EXPOSE 8080
ENV TRADEPOST_HTTP__BIND=0.0.0.0:8080
ENTRYPOINT ["tradepost"]
CMD ["serve"]

# The operator and the agent, each alone on a base without a shell:
#
#     docker build --target operator --tag tradingbot-operator .
#     docker build --target agent --tag tradingbot-agent .
#
# BASE:     what the programs run on; its C library must not be older than that of the release they were compiled on.
# BINARIES: `compiled` compiles them here; `prebuilt` takes them from the top of the build context.
ARG BASE=gcr.io/distroless/cc-debian12:nonroot
ARG BINARIES=compiled

FROM rust:1.95-bookworm AS compiled
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package operator --package agent \
    && mv target/release/tradingbot-operator target/release/tradingbot-agent /

FROM scratch AS prebuilt
COPY tradingbot-* /

FROM ${BINARIES} AS binaries

FROM ${BASE} AS operator
COPY --from=binaries /tradingbot-operator /
USER 65532:65532
ENTRYPOINT ["/tradingbot-operator"]

FROM ${BASE} AS agent
COPY --from=binaries /tradingbot-agent /
USER 65532:65532
ENTRYPOINT ["/tradingbot-agent"]

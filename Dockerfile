# Two images from scratch, one static binary each: `--target agent` and `--target collector`.
#
#   docker build --target agent -t holdfast-agent:0.1.0 .
#
# With binaries made outside (`make image` does it), the stage "rootfs" is replaced and nothing is compiled here:
#
#   scripts/image-root target/image
#   buildah build --build-context rootfs=target/image --target agent -t holdfast-agent:0.1.0 .

FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target scripts/image-root /out

FROM scratch AS rootfs
COPY --from=build /out /

# Starts as root, because Kubernetes gives added capabilities to root only, and becomes uid 65523 before it does anything.
FROM scratch AS agent
COPY --from=rootfs base/ /
COPY --from=rootfs agent/ /
ENTRYPOINT ["/usr/bin/holdfast-agent"]
CMD ["scan"]

FROM scratch AS collector
COPY --from=rootfs base/ /
COPY --from=rootfs collector/ /
USER 65532:65532
ENTRYPOINT ["/usr/bin/holdfast-collector"]
CMD ["--help"]

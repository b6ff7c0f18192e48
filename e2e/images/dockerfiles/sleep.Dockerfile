# The registry variant of the image sleep: for users with Docker. Build it at the root of the repository:
#   docker build -f e2e/images/dockerfiles/sleep.Dockerfile -t ghcr.io/sluicemesh/sleep:1.0 .
# "go run ./e2e/images/cmd/images build" makes the same image without Docker.
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends busybox-static ca-certificates curl netbase \
 && rm -rf /var/lib/apt/lists/* \
 && for applet in nc nslookup ping wget; do ln -s busybox /usr/bin/$applet; done
WORKDIR /
USER 65532:65532
CMD ["/bin/sleep", "infinity"]

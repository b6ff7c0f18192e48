# The registry variant of the image proxyv2: for users with Docker. Build it at the root of the repository:
#   docker build -f e2e/images/dockerfiles/proxyv2.Dockerfile -t ghcr.io/sluicemesh/proxyv2:dev .
# "go run ./e2e/images/cmd/images build" makes the same image without Docker,
# with nothing of Debian but what iptables and Envoy need.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags grpcnotrace -ldflags "-s -w -X github.com/sluicemesh/sluice/internal/version.Version=${VERSION}" -o /out/ ./cmd/sluice-agent ./cmd/sluice-init

FROM envoyproxy/envoy:v1.40.0 AS envoy

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates iptables netbase \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 1337 istio-proxy \
 && useradd --uid 1337 --gid 1337 --home-dir /var/lib/istio --no-create-home --shell /usr/sbin/nologin istio-proxy \
 && install -d -o 1337 -g 1337 /etc/istio /etc/istio/config /etc/istio/pod /etc/istio/proxy \
      /run/secrets /run/secrets/credential-uds /run/secrets/istio /run/secrets/tokens \
      /run/secrets/workload-spiffe-credentials /run/secrets/workload-spiffe-uds \
      /var/lib/istio /var/lib/istio/data
COPY --from=envoy /usr/local/bin/envoy /usr/local/bin/envoy
COPY --from=build /out/sluice-agent /out/sluice-init /usr/local/bin/
RUN ln -s sluice-agent /usr/local/bin/pilot-agent && ln -s sluice-init /usr/local/bin/istio-iptables
WORKDIR /
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/pilot-agent"]

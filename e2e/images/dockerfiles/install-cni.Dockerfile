# The registry variant of the image install-cni: for users with Docker. Build it at the root of the repository:
#   docker build -f e2e/images/dockerfiles/install-cni.Dockerfile -t ghcr.io/sluicemesh/install-cni:dev .
# "go run ./e2e/images/cmd/images build" makes the same image without Docker.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags grpcnotrace -ldflags "-s -w -X github.com/sluicemesh/sluice/internal/version.Version=${VERSION}" -o /out/ ./cmd/sluice-cni

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends iptables netbase \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/sluice-cni /usr/local/bin/
RUN ln -s sluice-cni /usr/local/bin/install-cni
WORKDIR /
USER 0:0
ENTRYPOINT ["/usr/local/bin/install-cni"]

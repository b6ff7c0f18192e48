# The registry variant of the image httpbin: for users with Docker. Build it at the root of the repository:
#   docker build -f e2e/images/dockerfiles/httpbin.Dockerfile -t ghcr.io/sluicemesh/httpbin:1.0 .
# "go run ./e2e/images/cmd/images build" makes the same image without Docker.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X github.com/sluicemesh/sluice/internal/version.Version=${VERSION}" -o /out/ ./samples/httpbin

FROM debian:bookworm-slim AS certificates
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates netbase

FROM scratch
COPY --from=certificates /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=certificates /etc/protocols /etc/services /etc/
COPY --from=build /out/httpbin /usr/local/bin/httpbin
WORKDIR /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/httpbin"]

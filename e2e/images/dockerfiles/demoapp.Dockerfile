# The registry variant of the image demoapp: for users with Docker. Build it at the root of the repository:
#   docker build -f e2e/images/dockerfiles/demoapp.Dockerfile -t ghcr.io/sluicemesh/demoapp:1.0 .
# "go run ./e2e/images/cmd/images build" makes the same image without Docker.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X github.com/sluicemesh/sluice/internal/version.Version=${VERSION}" -o /out/ ./samples/demoapp

FROM debian:bookworm-slim AS certificates
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates netbase

FROM scratch
COPY --from=certificates /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=certificates /etc/protocols /etc/services /etc/
COPY --from=build /out/demoapp /usr/local/bin/demoapp
WORKDIR /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/demoapp"]

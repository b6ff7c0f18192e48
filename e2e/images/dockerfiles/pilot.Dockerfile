# The registry variant of the image pilot: for users with Docker. Build it at the root of the repository:
#   docker build -f e2e/images/dockerfiles/pilot.Dockerfile -t ghcr.io/sluicemesh/pilot:dev .
# "go run ./e2e/images/cmd/images build" makes the same image without Docker.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags grpcnotrace -ldflags "-s -w -X github.com/sluicemesh/sluice/internal/version.Version=${VERSION}" -o /out/ ./cmd/sluiced

FROM debian:bookworm-slim AS certificates
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates netbase

FROM scratch
COPY --from=certificates /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=certificates /etc/protocols /etc/services /etc/
COPY --from=build /out/sluiced /usr/local/bin/sluiced
WORKDIR /
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/sluiced"]

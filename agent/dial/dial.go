// Package dial makes authenticated connections to the control plane.
//
// Roots are read for each connection and the token for each call, so rotated files need
// no watcher. It refuses to connect without a root unless plain text was configured: a
// missing file never turns verification off.
package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Config says where and as whom.
type Config struct {
	Address    string // host:port
	Plaintext  bool
	ServerName string // that the server's certificate must have
	RootFile   string // PEM; "SYSTEM" means the system's roots
	TokenFile  string
	ClusterID  string
	Headers    map[string]string // sent with each call
}

// New returns a connection that is made on first use. The caller closes it.
func New(c Config) (*grpc.ClientConn, error) {
	secure := insecure.NewCredentials()
	if !c.Plaintext {
		roots, err := readRoots(c.RootFile)
		if err != nil {
			return nil, err
		}
		secure = credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: c.ServerName, MinVersion: tls.VersionTLS12})
	}
	conn, err := grpc.NewClient("passthrough:///"+c.Address,
		grpc.WithTransportCredentials(secure),
		grpc.WithPerRPCCredentials(caller(c)),
		grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: false}),
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(1<<20),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return nil, fmt.Errorf("control plane %s: %w", c.Address, err)
	}
	return conn, nil
}

// readRoots returns the roots of file, nil for the system's.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "SYSTEM" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read control plane root: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("control plane root %s holds no certificate", file)
	}
	return pool, nil
}

// caller says with each call who calls.
type caller Config

// GetRequestMetadata reads the token. A missing file gives no header: the control plane
// then refuses with a reason of its own, which is the better message.
func (c caller) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	out := map[string]string{"clusterid": c.ClusterID}
	for k, v := range c.Headers {
		out[strings.ToLower(k)] = v
	}
	token, err := os.ReadFile(c.TokenFile)
	if errors.Is(err, fs.ErrNotExist) || c.Plaintext {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read token: %w", err)
	}
	maps.Copy(out, map[string]string{"authorization": "Bearer " + strings.TrimSpace(string(token))})
	return out, nil
}

// RequireTransportSecurity allows calls in plain text; they carry no token.
func (c caller) RequireTransportSecurity() bool { return !c.Plaintext }

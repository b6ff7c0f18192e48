package bootstrap

import (
	"encoding/json"
	"fmt"
	"path"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sluicemesh/sluice/internal/nodemeta"
)

// Names of the certificate files in a directory that the agent writes.
const (
	KeyFile   = "key.pem"
	ChainFile = "cert-chain.pem"
	RootFile  = "root-cert.pem"
)

// inboundListener is the name under which a gRPC server asks for its listener; %s is the
// address it listens on, "10.0.0.7:8080".
const inboundListener = "xds.istio.io/grpc/lds/inbound/%s"

// GRPC is all that the bootstrap of gRPC's xDS client depends on.
type GRPC struct {
	Node      nodemeta.Node
	XDSSocket string // absolute path of the agent's Unix socket
	CertDir   string // absolute directory of the certificate files; empty: there are none
}

// grpcFile is the bootstrap as gRPC reads it.
type grpcFile struct {
	Servers   []grpcServer            `json:"xds_servers"`
	Node      json.RawMessage         `json:"node"`
	Providers map[string]grpcProvider `json:"certificate_providers,omitempty"`
	Listener  string                  `json:"server_listener_resource_name_template"`
}

type grpcServer struct {
	URI         string      `json:"server_uri"`
	Credentials []grpcCreds `json:"channel_creds"`
	Features    []string    `json:"server_features"`
}

type grpcCreds struct {
	Type string `json:"type"`
}

type grpcProvider struct {
	Plugin string    `json:"plugin_name"`
	Config grpcFiles `json:"config"`
}

type grpcFiles struct {
	Chain   string `json:"certificate_file"`
	Key     string `json:"private_key_file"`
	Root    string `json:"ca_certificate_file"`
	Refresh string `json:"refresh_interval"`
}

// Encode returns the bootstrap as indented JSON. The provider of certificates is named
// "default", as the control plane refers to it.
func (p GRPC) Encode() ([]byte, error) {
	node, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(p.Node.Proto())
	if err != nil {
		return nil, fmt.Errorf("encode bootstrap of grpc: %w", err)
	}
	file := grpcFile{
		Servers: []grpcServer{{
			URI: "unix://" + p.XDSSocket, Credentials: []grpcCreds{{"insecure"}}, Features: []string{"xds_v3"},
		}},
		Node: node, Listener: inboundListener,
	}
	if p.CertDir != "" {
		file.Providers = map[string]grpcProvider{"default": {Plugin: "file_watcher", Config: grpcFiles{
			Chain: path.Join(p.CertDir, ChainFile), Key: path.Join(p.CertDir, KeyFile), Root: path.Join(p.CertDir, RootFile),
			Refresh: "900s",
		}}}
	}
	out, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode bootstrap of grpc: %w", err)
	}
	return append(out, '\n'), nil
}

package bootstrap

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/internal/nodemeta"
)

const grpcBootstrap = `{
  "xds_servers": [
    {
      "server_uri": "unix:///etc/istio/proxy/XDS",
      "channel_creds": [
        {
          "type": "insecure"
        }
      ],
      "server_features": [
        "xds_v3"
      ]
    }
  ],
  "node": {
    "id": "sidecar~10.0.0.7~echo-1.shop~shop.svc.cluster.local",
    "cluster": "echo.shop",
    "metadata": {
      "GENERATOR": "grpc",
      "INSTANCE_IPS": "10.0.0.7",
      "LABELS": {
        "app": "echo"
      },
      "NAME": "echo-1",
      "NAMESPACE": "shop"
    },
    "locality": {
      "region": "r",
      "zone": "z",
      "sub_zone": "s"
    }
  },
  "certificate_providers": {
    "default": {
      "plugin_name": "file_watcher",
      "config": {
        "certificate_file": "/var/lib/istio/data/cert-chain.pem",
        "private_key_file": "/var/lib/istio/data/key.pem",
        "ca_certificate_file": "/var/lib/istio/data/root-cert.pem",
        "refresh_interval": "900s"
      }
    }
  },
  "server_listener_resource_name_template": "xds.istio.io/grpc/lds/inbound/%s"
}
`

func TestGRPCBootstrap(t *testing.T) {
	ip := netip.MustParseAddr("10.0.0.7")
	got, err := GRPC{
		Node: nodemeta.Node{
			Role: nodemeta.Sidecar, IP: ip, IPs: []netip.Addr{ip}, Name: "echo-1", Namespace: "shop", DNSDomain: "shop.svc.cluster.local",
			Cluster: "echo.shop", Labels: map[string]string{"app": "echo"}, Extra: map[string]string{"GENERATOR": "grpc"},
			Locality: nodemeta.Locality{Region: "r", Zone: "z", SubZone: "s"},
		},
		XDSSocket: "/etc/istio/proxy/XDS", CertDir: "/var/lib/istio/data",
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(grpcBootstrap, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

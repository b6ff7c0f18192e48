package store

import (
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluicemesh/sluice/internal/routetable"
)

// pick is the state of one part that Envoy is offered: the newest, or the last good one
// while the newest is rejected or under suspicion.
func (o *offer) pick(k key, pt *part) *Resource {
	if o.trial != nil {
		if o.trial.now[k] {
			return pt.want
		}
		return pt.good
	}
	if pt.bad != nil {
		return pt.good
	}
	return pt.want
}

// pickAll returns the offered version of name, empty if there is nothing to offer, and
// the state of each part that makes it. The version of a joined table is a hash of the
// names and versions of its parts.
func (s *Store) pickAll(o *offer, name string) (string, []change) {
	keys := s.partsOf(o.typ, name)
	picked := make([]change, 0, len(keys))
	for _, k := range keys {
		if pt := s.parts[k]; pt != nil {
			picked = append(picked, change{key: k, res: o.pick(k, pt), seq: pt.seq})
		}
	}
	if len(picked) == 0 || picked[0].key != keys[0] || picked[0].res == nil {
		return "", picked // no resource, or virtual hosts without a shell
	}
	if o.typ != Route || len(picked) == 1 {
		return picked[0].res.Version, picked
	}
	sum := sha256.New()
	for _, c := range picked {
		if c.res != nil {
			sum.Write([]byte(c.name + "\x00" + c.res.Version + "\x00"))
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), picked
}

// body is the encoded resource that picked makes.
func body(typ string, picked []change) []byte {
	if typ != Route || len(picked) == 1 {
		return picked[0].res.Body
	}
	hosts := make([][]byte, 0, len(picked)-1)
	for _, c := range picked[1:] {
		if c.res != nil {
			hosts = append(hosts, c.res.Body)
		}
	}
	return routetable.Join(picked[0].res.Body, hosts)
}

// Field numbers of envoy.config.cluster.v3.Cluster.eds_cluster_config and of its
// service_name. Source: envoy/config/cluster/v3/cluster.proto.
const (
	edsClusterConfig protowire.Number = 3
	edsServiceName   protowire.Number = 2
)

// endpointsName is the name under which Envoy asks for the endpoints of a cluster: its
// service name if it has one, else its own. Only the fields' tags are looked at; bytes
// that are no message give the cluster's own name.
func endpointsName(cluster string, body []byte) string {
	if eds := bytesField(body, edsClusterConfig); eds != nil {
		if name := bytesField(eds, edsServiceName); len(name) > 0 {
			return string(name)
		}
	}
	return cluster
}

// bytesField returns the last value of a length-delimited field, nil if it is not there.
func bytesField(msg []byte, want protowire.Number) []byte {
	var out []byte
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return nil
		}
		msg = msg[n:]
		size := protowire.ConsumeFieldValue(num, typ, msg)
		if size < 0 {
			return nil
		}
		if num == want && typ == protowire.BytesType {
			out, _ = protowire.ConsumeBytes(msg)
		}
		msg = msg[size:]
	}
	return out
}

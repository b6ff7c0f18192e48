// Package nametable is the contract between the control plane, which knows the addresses of
// host names, and the agent, which answers the pod's DNS queries with them.
//
// A table travels as the message istio.networking.nds.v1.NameTable, whose wire format is
// kept so that either end may be somebody else's:
//
//	message NameTable {
//	  map<string, NameInfo> table = 1;
//	}
//	message NameInfo {
//	  repeated string ips = 1;
//	  string registry = 2;
//	  string shortname = 3;
//	  string namespace = 4;
//	}
//
// The one field is a map, which on the wire is a list of records: tables joined as bytes are
// a table. So one host can be one resource, and the whole is their concatenation. The
// package is pure.
package nametable

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Type is the type URL of a table.
const Type = "type.googleapis.com/istio.networking.nds.v1.NameTable"

// Registries that names come from.
const (
	Kubernetes = "Kubernetes" // Services of the cluster: they have short names
	External   = "External"   // ServiceEntries
)

// Entry is one host with its addresses.
type Entry struct {
	// Host is the full name, lower case and without trailing dot, or a wildcard
	// "*.example.com".
	Host string
	// Addresses are IP addresses as text, in the order to be kept; never empty when written.
	Addresses []string
	Registry  string
	// ShortName and Namespace are what clients in the cluster may write instead of Host,
	// "reviews" or "reviews.default"; of Kubernetes hosts only.
	ShortName string
	Namespace string
}

// Field numbers of the messages in the package comment, and of a map's records.
const (
	fieldTable protowire.Number = 1

	fieldKey   protowire.Number = 1
	fieldValue protowire.Number = 2

	fieldAddresses protowire.Number = 1
	fieldRegistry  protowire.Number = 2
	fieldShortName protowire.Number = 3
	fieldNamespace protowire.Number = 4
)

// Append appends the encoding of a table that holds e alone and returns the longer slice.
func Append(table []byte, e Entry) []byte {
	var info []byte
	for _, ip := range e.Addresses {
		info = appendText(info, fieldAddresses, ip)
	}
	for _, f := range []struct {
		num  protowire.Number
		text string
	}{{fieldRegistry, e.Registry}, {fieldShortName, e.ShortName}, {fieldNamespace, e.Namespace}} {
		if f.text != "" {
			info = appendText(info, f.num, f.text)
		}
	}
	record := appendText(nil, fieldKey, e.Host)
	record = protowire.AppendTag(record, fieldValue, protowire.BytesType)
	record = protowire.AppendBytes(record, info)
	table = protowire.AppendTag(table, fieldTable, protowire.BytesType)
	return protowire.AppendBytes(table, record)
}

func appendText(b []byte, num protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), text)
}

// Parse returns the entries of an encoded table in their order; of a host that is there
// twice the last one counts, as in every map of protobuf, and both are returned. Unknown
// fields are skipped. The error says that the bytes are no table.
func Parse(table []byte) ([]Entry, error) {
	var out []Entry
	err := fields(table, func(num protowire.Number, record []byte) error {
		if num != fieldTable {
			return nil
		}
		e, err := parseRecord(record)
		out = append(out, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("name table: %w", err)
	}
	return out, nil
}

func parseRecord(record []byte) (e Entry, err error) {
	err = fields(record, func(num protowire.Number, value []byte) error {
		switch num {
		case fieldKey:
			e.Host = string(value)
		case fieldValue:
			return e.parse(value)
		}
		return nil
	})
	return e, err
}

func (e *Entry) parse(info []byte) error {
	return fields(info, func(num protowire.Number, value []byte) error {
		switch num {
		case fieldAddresses:
			e.Addresses = append(e.Addresses, string(value))
		case fieldRegistry:
			e.Registry = string(value)
		case fieldShortName:
			e.ShortName = string(value)
		case fieldNamespace:
			e.Namespace = string(value)
		}
		return nil
	})
}

var errNoMessage = errors.New("the bytes are no message")

// fields calls fn for each length-delimited field of a message and skips the others.
func fields(msg []byte, fn func(protowire.Number, []byte) error) error {
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		if n < 0 {
			return errNoMessage
		}
		msg = msg[n:]
		size := protowire.ConsumeFieldValue(num, typ, msg)
		if size < 0 {
			return errNoMessage
		}
		if typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(msg)
			if err := fn(num, value); err != nil {
				return err
			}
		}
		msg = msg[size:]
	}
	return nil
}

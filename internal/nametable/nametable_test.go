package nametable_test

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/sluicemesh/sluice/internal/nametable"
)

func reviews() nametable.Entry {
	return nametable.Entry{
		Host: "reviews.default.svc.cluster.local", Addresses: []string{"10.96.0.7", "fd00::7"},
		Registry: nametable.Kubernetes, ShortName: "reviews", Namespace: "default",
	}
}

func external() nametable.Entry {
	return nametable.Entry{Host: "*.example.com", Addresses: []string{"240.1.2.3"}, Registry: nametable.External}
}

// message is the table's message as protobuf's own library sees it.
func message(t *testing.T) *dynamicpb.Message {
	t.Helper()
	file := &descriptorpb.FileDescriptorProto{}
	if err := prototext.Unmarshal([]byte(`
		name: "nds.proto" package: "istio.networking.nds.v1" syntax: "proto3"
		message_type {
		  name: "NameTable"
		  field { name: "table" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".istio.networking.nds.v1.NameTable.TableEntry" }
		  nested_type {
		    name: "NameInfo"
		    field { name: "ips" number: 1 label: LABEL_REPEATED type: TYPE_STRING }
		    field { name: "registry" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
		    field { name: "shortname" number: 3 label: LABEL_OPTIONAL type: TYPE_STRING }
		    field { name: "namespace" number: 4 label: LABEL_OPTIONAL type: TYPE_STRING }
		    field { name: "alt_hosts" number: 5 label: LABEL_REPEATED type: TYPE_STRING }
		  }
		  nested_type {
		    name: "TableEntry"
		    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
		    field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: ".istio.networking.nds.v1.NameTable.NameInfo" }
		    options { map_entry: true }
		  }
		}`), file); err != nil {
		t.Fatal(err)
	}
	desc, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return dynamicpb.NewMessage(desc.Messages().ByName("NameTable"))
}

// TestWireFormat reads a joined table with protobuf's library, and what that writes with ours.
func TestWireFormat(t *testing.T) {
	m := message(t)
	joined := append(nametable.Append(nil, reviews()), nametable.Append(nil, external())...)
	if err := proto.Unmarshal(joined, m); err != nil {
		t.Fatal(err)
	}
	want := m.New().Interface()
	if err := prototext.Unmarshal([]byte(`
		table { key: "reviews.default.svc.cluster.local" value { ips: "10.96.0.7" ips: "fd00::7" registry: "Kubernetes" shortname: "reviews" namespace: "default" } }
		table { key: "*.example.com" value { ips: "240.1.2.3" registry: "External" } }`), want); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(m, want) {
		t.Errorf("protobuf reads %v, want %v", m, want)
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := nametable.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]nametable.Entry{external(), reviews()}, got); diff != "" {
		t.Error(diff)
	}
	const bytes = "0a260a0d2a2e6578616d706c652e636f6d12150a093234302e312e322e33120845787465726e616c"
	if got := hex.EncodeToString(nametable.Append(nil, external())); got != bytes {
		t.Errorf("encoding %s, want %s", got, bytes)
	}
}

func TestParseRefusesGarbage(t *testing.T) {
	whole := nametable.Append(nil, reviews())
	for _, n := range []int{1, 2, 10, len(whole) - 1} {
		if _, err := nametable.Parse(whole[:n]); err == nil {
			t.Errorf("the first %d bytes are a table", n)
		}
	}
	inner := slices.Clone(whole)
	inner[3] = 0xff // the length of the host name
	if got, err := nametable.Parse(inner); err == nil {
		t.Errorf("a broken record is the table %v", got)
	}
	if got, err := nametable.Parse(nil); err != nil || len(got) != 0 {
		t.Errorf("Parse(nil) = %v, %v; want the empty table", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(append(nametable.Append(nil, reviews()), nametable.Append(nil, external())...))
	f.Add([]byte{0x0a, 0x00})
	f.Add([]byte{0x08, 0x01, 0x12, 0x00})
	f.Fuzz(func(t *testing.T, table []byte) {
		entries, err := nametable.Parse(table)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			again = nametable.Append(again, e)
		}
		back, err := nametable.Parse(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(entries, back); diff != "" {
			t.Error(diff)
		}
	})
}

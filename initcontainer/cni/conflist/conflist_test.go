package conflist

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicemesh/sluice/internal/golden"
)

const entry = `{"type":"istio-cni","log_level":"info","kubernetes":{"exclude_namespaces":["kube-system"]}}`

// lists are configurations as networks write them.
func lists() map[string]string {
	return map[string]string{
		"indented": "{\n  \"cniVersion\": \"0.3.1\",\n  \"name\": \"k8s-pod-network\",\n  \"plugins\": [\n    {\n" +
			"      \"type\": \"calico\"\n    },\n    {\"type\": \"portmap\", \"snat\": true}\n  ]\n}\n",
		"tabs":     "{\n\t\"name\": \"a\",\n\t\"plugins\": [\n\t\t{\"type\": \"bridge\"}\n\t]\n}",
		"one line": `{"cniVersion":"1.0.0","name":"a","plugins":[{"type":"ptp","ipam":{"type":"host-local"}}, {"type":"portmap"}],"x":[1,{"plugins":[]}]}`,
		"odd":      " {\"plugins\" :\r\n[ {\"type\":\"a\",\"b\":\"]}\\\"\"}\r\n\r\n,{\"type\":\"c\"} ] , \"name\": \"n\" }\r\n\r\n",
	}
}

// TestRestores: taking the entry out leaves what was there, byte for byte.
func TestRestores(t *testing.T) {
	for name, list := range lists() {
		t.Run(name, func(t *testing.T) {
			with, err := Insert([]byte(list), []byte(entry))
			if err != nil {
				t.Fatal(err)
			}
			if !Has(with, "istio-cni") || Has([]byte(list), "istio-cni") {
				t.Errorf("Has is wrong about\n%s", with)
			}
			again, err := Insert(with, []byte(entry))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(with), string(again)); diff != "" {
				t.Errorf("inserting twice (-once +twice):\n%s", diff)
			}
			other, err := Insert(with, []byte(`{"type":"istio-cni","log_level":"debug"}`))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(string(other), "istio-cni") != 1 || !strings.Contains(string(other), "debug") {
				t.Errorf("an older entry was not replaced:\n%s", other)
			}
			without, err := Remove(other, "istio-cni")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(list, string(without)); diff != "" {
				t.Errorf("after removal (-before +after):\n%s", diff)
			}
		})
	}
}

// TestInsertLayout: the entry looks like its neighbours.
func TestInsertLayout(t *testing.T) {
	for name, file := range map[string]string{"indented": "indented.out.json", "one line": "line.out.json"} {
		got, err := Insert([]byte(lists()[name]), []byte(entry))
		if err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, filepath.Join("testdata", file), got)
	}
}

func TestRemoveFirst(t *testing.T) {
	got, err := Remove([]byte(`{"plugins": [{"type":"istio-cni"}, {"type":"a"},{"type":"istio-cni"}]}`), "istio-cni")
	if want := `{"plugins": [{"type":"a"}]}`; err != nil || string(got) != want {
		t.Errorf("Remove = %s, %v; want %s", got, err, want)
	}
	got, err = Remove([]byte(`{"plugins": [{"type":"istio-cni"}]}`), "istio-cni")
	if want := `{"plugins": []}`; err != nil || string(got) != want {
		t.Errorf("Remove = %s, %v; want %s", got, err, want)
	}
}

func TestInsertRefuses(t *testing.T) {
	for _, list := range []string{
		"", "[]", "{}", `{"plugins":{}}`, `{"plugins":[]}`, `{"plugins":[{"type":"a"}]`, `{"plugins":["a"]}`,
		`{"plugins":[{"type":"a"}],"plugins":[]}`, `{"plugins":[{"type":"istio-cni","x":1}]}`,
	} {
		if got, err := Insert([]byte(list), []byte(entry)); err == nil {
			t.Errorf("Insert(%s) = %s; want an error", list, got)
		}
	}
}

func TestFromSingle(t *testing.T) {
	got, err := FromSingle([]byte(`{"cniVersion":"0.3.1","name":"net","type":"bridge"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := "{\n  \"cniVersion\": \"0.3.1\",\n  \"name\": \"net\",\n  \"plugins\": [\n    {\n      \"cniVersion\": \"0.3.1\",\n" +
		"      \"name\": \"net\",\n      \"type\": \"bridge\"\n    }\n  ]\n}\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if _, err := FromSingle([]byte(`{"name":"net"}`)); err == nil {
		t.Error("a configuration without type was taken")
	}
}

// FuzzInsert: whatever is taken is given back.
func FuzzInsert(f *testing.F) {
	for _, list := range lists() {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		if Has([]byte(list), "istio-cni") {
			t.Skip()
		}
		with, err := Insert([]byte(list), []byte(entry))
		if err != nil {
			return
		}
		without, err := Remove(with, "istio-cni")
		if err != nil || string(without) != list {
			t.Errorf("%q became %q, %v", list, without, err)
		}
	})
}

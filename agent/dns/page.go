package dns

import (
	"encoding/json"
	"net/http"
)

// info is one host of the page; the names of the fields are those of the message NameTable.
type info struct {
	IPs       []string `json:"ips"`
	Registry  string   `json:"registry"`
	ShortName string   `json:"shortname,omitempty"`
	Namespace string   `json:"namespace,omitempty"`
}

// ServeHTTP shows the table as JSON, sorted by host, for whoever debugs it.
func (t *Table) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	table := map[string]info{}
	for _, e := range t.Entries() {
		table[e.Host] = info{e.Addresses, e.Registry, e.ShortName, e.Namespace}
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	// An error is the client's going away.
	_ = enc.Encode(map[string]any{"table": table})
}

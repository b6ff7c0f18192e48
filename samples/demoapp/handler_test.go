package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHandler(t *testing.T) {
	app := demoapp{version: "v1.1", name: "demoappv11-abc", addr: "10.244.1.5"}
	for _, c := range []struct {
		method, path, remote string
		status               int
		body                 string
	}{
		{
			"GET", "/", "127.0.0.6:40000", 200,
			"iKubernetes demoapp v1.1 !! ClientIP: 127.0.0.6, ServerName: demoappv11-abc, ServerIP: 10.244.1.5!\n",
		},
		{
			"GET", "/", "[::ffff:127.0.0.6]:40000", 200,
			"iKubernetes demoapp v1.1 !! ClientIP: 127.0.0.6, ServerName: demoappv11-abc, ServerIP: 10.244.1.5!\n",
		},
		{
			"GET", "/?q=1", "[::6]:40000", 200,
			"iKubernetes demoapp v1.1 !! ClientIP: ::6, ServerName: demoappv11-abc, ServerIP: 10.244.1.5!\n",
		},
		{"GET", "/hostname", "127.0.0.6:1", 200, "ServerName: demoappv11-abc\n"},
		{"GET", "/user-agent", "127.0.0.6:1", 200, "User-Agent: curl/8\n"},
		{"GET", "/version", "127.0.0.6:1", 200, "Version: v1.1\n"},
		{"GET", "/livez", "127.0.0.6:1", 200, "OK\n"},
		{"GET", "/readyz", "127.0.0.6:1", 200, "OK\n"},
		{"GET", "/none", "127.0.0.6:1", 404, "404 page not found\n"},
		{"POST", "/", "127.0.0.6:1", 405, "Method Not Allowed\n"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, http.NoBody)
		r.RemoteAddr = c.remote
		r.Header.Set("User-Agent", "curl/8")
		r.Header.Set("X-Forwarded-For", "192.0.2.1") // must not be believed
		w := httptest.NewRecorder()
		app.handler().ServeHTTP(w, r)
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s %s from %s = %d %q, want %d %q", c.method, c.path, c.remote, w.Code, w.Body, c.status, c.body)
		}
	}
}

func TestOwnAddress(t *testing.T) {
	addr, err := ownAddress()
	if err != nil {
		t.Fatal(err)
	}
	if !addr.IsValid() || addr.IsUnspecified() || addr.IsLinkLocalUnicast() || addr.IsMulticast() {
		t.Errorf("ownAddress() = %s, want an address that others can reach", addr)
	}
}

package server_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/sluicemesh/sluice/samples/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRunDrains stops the server while a request is open: the request is answered, new ones
// are refused, Run returns without an error.
func TestRunDrains(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	entered, answer := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-answer
		io.WriteString(w, "late but here")
	})
	var work errgroup.Group
	work.Go(func() error { return server.Run(ctx, l, slow) })

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	url := "http://" + l.Addr().String()
	work.Go(func() error {
		resp, err := client.Get(url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "late but here" {
			t.Errorf("open request got %q, %v", body, err)
		}
		return nil
	})
	<-entered
	stop()
	for { // Shutdown closes the listener first
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		c.Close()
	}
	close(answer)
	if err := work.Wait(); err != nil {
		t.Error(err)
	}
}

func TestRunReportsABrokenListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.Run(t.Context(), l, http.NotFoundHandler()); err == nil {
		t.Error("Run on a closed listener returned no error")
	}
}

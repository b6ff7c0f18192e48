package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicemesh/sluice/internal/ports"
)

// waitCommand polls until the proxy is ready; a post-start hook holds the application back
// with it.
func waitCommand() *cobra.Command {
	var timeout, request, period int
	var url string
	cmd := &cobra.Command{
		Use: "wait", Short: "Waits until the proxy is ready.", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(timeout)*time.Second)
			defer cancel()
			client := &http.Client{Timeout: time.Duration(request) * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
			for {
				err := ready(ctx, client, url)
				if err == nil {
					return nil
				}
				t := time.NewTimer(time.Duration(period) * time.Millisecond)
				select {
				case <-ctx.Done():
					t.Stop()
					return fmt.Errorf("proxy not ready after %d seconds: %w", timeout, err)
				case <-t.C:
				}
			}
		},
	}
	cmd.Flags().IntVar(&timeout, "timeoutSeconds", 60, "seconds to wait at most")
	cmd.Flags().IntVar(&request, "requestTimeoutMillis", 500, "milliseconds that one request may take")
	cmd.Flags().IntVar(&period, "periodMillis", 500, "milliseconds between requests")
	cmd.Flags().StringVar(&url, "url", "http://localhost:"+strconv.Itoa(int(ports.EnvoyHealth))+"/healthz/ready", "what to ask")
	return cmd
}

func ready(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// requestCommand sends one HTTP request to the proxy's own ports: images have no curl.
func requestCommand() *cobra.Command {
	var port uint16
	cmd := &cobra.Command{
		Use: "request METHOD PATH", Short: "Sends an HTTP request to the proxy or its agent.", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			// Any port of the pod: the agent's is the user's choice, and the drain hook names it.
			if port == 0 {
				return errors.New("nothing listens on port 0")
			}
			url := "http://" + net.JoinHostPort("localhost", strconv.Itoa(int(port))) + "/" + strings.TrimPrefix(args[1], "/")
			return send(cmd.Context(), strings.ToUpper(args[0]), url, cmd.OutOrStdout())
		},
	}
	cmd.Flags().Uint16Var(&port, "debug-port", ports.EnvoyAdmin, "port of the proxy or its agent")
	return cmd
}

func send(ctx context.Context, method, url string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(out, resp.Body); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode > 299 {
		return fmt.Errorf("%s %s: status %s", method, url, resp.Status)
	}
	return nil
}

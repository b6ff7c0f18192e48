package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sluicemesh/sluice/initcontainer/cni/pod"
)

// watchFor is how long one watch lasts before everything is listed again, which also
// repairs whatever a lost event left behind.
const watchFor = 5 * time.Minute

// Follow lists the pods of a node and calls handle with each, then with each that changes,
// until the watch ends: nil after some minutes, an error when it breaks. Call it again then.
// Pods that go are not told of; listed is called after all pods of the list were handled.
func (c *Client) Follow(ctx context.Context, node string, handle func(*pod.Pod), listed func()) error {
	version, err := c.list(ctx, node, handle)
	if err != nil {
		return fmt.Errorf("list the pods of node %s: %w", node, err)
	}
	listed()
	if err := c.watch(ctx, node, version, handle); err != nil {
		return fmt.Errorf("watch the pods of node %s: %w", node, err)
	}
	return nil
}

func ofNode(node string) url.Values {
	return url.Values{"fieldSelector": {"spec.nodeName=" + node}}
}

func (c *Client) list(ctx context.Context, node string, handle func(*pod.Pod)) (version string, err error) {
	query := ofNode(node)
	query.Set("resourceVersion", "0") // the API server's cache will do
	var all struct {
		Metadata pod.Metadata `json:"metadata"`
		Items    []pod.Pod    `json:"items"`
	}
	if err := c.get(ctx, "/api/v1/pods?"+query.Encode(), &all); err != nil {
		return "", err
	}
	for i := range all.Items {
		handle(&all.Items[i])
	}
	return all.Metadata.ResourceVersion, nil
}

// watch hands on what changes until the server ends the stream.
func (c *Client) watch(ctx context.Context, node, version string, handle func(*pod.Pod)) error {
	query := ofNode(node)
	query.Set("watch", "true")
	query.Set("allowWatchBookmarks", "true")
	query.Set("resourceVersion", version)
	query.Set("timeoutSeconds", strconv.Itoa(int(watchFor/time.Second)))
	// Beyond its own limit the server is given a while, not forever.
	ctx, cancel := context.WithTimeout(ctx, watchFor+requestTimeout)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, "/api/v1/pods?"+query.Encode(), "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for dec := json.NewDecoder(resp.Body); ; {
		var event struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		err := dec.Decode(&event)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if event.Type == "ERROR" {
			var refused struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
			}
			_ = json.Unmarshal(event.Object, &refused) // an unreadable one is refused without a word
			return &Status{refused.Code, refused.Message}
		}
		p := &pod.Pod{}
		if err := json.Unmarshal(event.Object, p); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		if event.Type == "ADDED" || event.Type == "MODIFIED" {
			handle(p)
		}
	}
}

package play

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
)

// mostTurns bounds the requests until every replica has answered. A balancer that picks one
// of three at random leaves one out of 40 requests once in five million runs.
const mostTurns = 40

// turn is the first request that a replica answered.
type turn struct {
	server, mark string
	answer       answer
}

// turns sends a call until so many replicas have answered, and shows the first request to each.
func (d *director) turns(ctx context.Context, c call, servers int) error {
	count := map[string]int{}
	var first []turn
	sent := 0
	for ; sent < mostTurns && len(first) < servers; sent++ {
		mark := "sluice-demo/" + rand.Text()
		a, err := d.send(ctx, c, mark)
		if err != nil {
			return err
		}
		name := a.body
		if m := demoappReply.FindStringSubmatch(a.body); m != nil {
			name = m[2]
		}
		if count[name]++; count[name] == 1 {
			first = append(first, turn{name, mark, a})
		}
	}
	for _, t := range first {
		r, err := d.observe(ctx, c, t.mark, t.answer)
		if err != nil {
			return err
		}
		d.shown++
		if r.Failure != "" {
			d.failed = append(d.failed, c.text)
		}
		d.say("%s", strings.TrimRight(d.palette.Draw(r), "\n"))
	}
	shares := make([]string, len(first))
	for i, t := range first {
		shares[i] = fmt.Sprintf("%s %d", t.server, count[t.server])
	}
	d.say("\n      %d requests until every replica had answered: %s", sent, strings.Join(shares, ", "))
	if len(first) < servers {
		d.failed = append(d.failed, fmt.Sprintf("%s: %d of %d replicas answered", c.text, len(first), servers))
	}
	return nil
}

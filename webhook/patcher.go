package webhook

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"gomodules.xyz/jsonpatch/v2"
)

// patcher writes a JSON patch, step by step, into memory that it keeps for the next one.
type patcher struct {
	appender // the steps so far, without the closing bracket; the last one is open
	path     []byte
	keys     []string
	from, to names
}

// whole is the index of a place that is not an element of a list.
const whole = -1

// place is where a step applies: path, path/index, or a field below.
type place struct {
	path  string
	index int
	field string // with its slash; empty for the element itself
}

func (p *patcher) reset() {
	p.appender.reset()
	p.out = append(p.out, '[')
}

// forget drops what belongs to the pods, and lists that are too long to be kept.
func (p *patcher) forget() {
	for _, list := range []*[]string{&p.keys, &p.from.list, &p.to.list} {
		clear((*list)[:cap(*list)])
		if cap(*list) > maxNames {
			*list = nil
		}
	}
	p.from.at, p.to.at = nil, nil
}

// finish closes the patch.
func (p *patcher) finish() ([]byte, error) {
	if p.err != nil {
		return nil, fmt.Errorf("create patch: %w", p.err)
	}
	if len(p.out) == 1 {
		return nil, nil
	}
	p.out = append(p.out, '}', ']')
	return p.out, nil
}

// step begins a step; unless it removes something, its value has to follow.
func (p *patcher) step(op string, at place) {
	p.path = append(p.path[:0], at.path...)
	if at.index != whole {
		p.path = strconv.AppendInt(append(p.path, '/'), int64(at.index), 10)
	}
	p.path = append(p.path, at.field...)
	p.open(op)
}

// keyStep is step for a key of a map.
func (p *patcher) keyStep(op, path, key string) {
	p.path = append(append(p.path[:0], path...), '/')
	p.path = append(p.path, escape(key)...)
	p.open(op)
}

func (p *patcher) open(op string) {
	if len(p.out) > 1 {
		p.out = append(p.out, '}', ',')
	}
	p.raw(`{"op":"`)
	p.raw(op)
	p.raw(`","path":`)
	p.out, _ = jsontext.AppendQuote(p.out, p.path) // an error as in text
	if op != "remove" {
		p.raw(`,"value":`)
	}
}

// escape writes a key as part of a JSON pointer (RFC 6901).
func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

// difference is the steps from one value to another of the same type.
func difference(from, to any) ([]jsonpatch.Operation, error) {
	a, err := json.Marshal(from)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(to)
	if err != nil {
		return nil, err
	}
	return jsonpatch.CreatePatch(a, b)
}

// names is a list of names that is searched; long ones have an index.
type names struct {
	list []string
	at   map[string]int // nil where the list is short
}

const (
	shortList = 16  // is searched without an index
	maxNames  = 256 // in a list that is kept for another pod
)

func (n *names) reset() { n.list, n.at = n.list[:0], nil }

// prepare is called when the list is complete.
func (n *names) prepare() {
	if len(n.list) <= shortList {
		return
	}
	n.at = make(map[string]int, len(n.list))
	for i, name := range n.list {
		n.at[name] = i
	}
}

// index returns the place of a name, -1 where it is not in the list.
func (n *names) index(name string) int {
	if n.at == nil {
		return slices.Index(n.list, name)
	}
	if i, ok := n.at[name]; ok {
		return i
	}
	return -1
}

// unique reports whether no name comes twice.
func (n *names) unique() bool {
	if n.at != nil {
		return len(n.at) == len(n.list)
	}
	for i, name := range n.list {
		if slices.Contains(n.list[i+1:], name) {
			return false
		}
	}
	return true
}

package patch

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	corev1 "k8s.io/api/core/v1"
)

// Writer writes a JSON patch, step by step, into memory that it keeps for the next one. The
// zero value is ready; it serves one pod at a time.
type Writer struct {
	appender // the steps so far, without the closing bracket; the last one is open
	path     []byte
	keys     []string
	from, to names
	now      []string // names as they are after the steps so far
	known    Fragments
	rest     corev1.Container
}

const (
	whole = -1 // the index of a place that is not an element of a list
	atEnd = -2 // where move appends
)

// place is where a step applies: path, path/index, or a field below.
type place struct {
	path  string
	index int
	field string // with its slash; empty for the element itself
}

func (p *Writer) reset(known Fragments) {
	p.appender.reset()
	p.known = known
	p.out = append(p.out, '[')
}

// Forget drops what belongs to the pods, and lists that are too long to be kept.
func (p *Writer) Forget() {
	for _, list := range []*[]string{&p.keys, &p.from.list, &p.to.list, &p.now} {
		clear((*list)[:cap(*list)])
		if cap(*list) > maxNames {
			*list = nil
		}
	}
	p.from.at, p.to.at = nil, nil
	p.known, p.rest = Fragments{}, corev1.Container{}
}

// Kept returns how many bytes the writer holds on to.
func (p *Writer) Kept() int { return cap(p.out) }

// finish closes the patch.
func (p *Writer) finish() ([]byte, error) {
	if p.err != nil {
		return nil, fmt.Errorf("create patch: %w", p.err)
	}
	if len(p.out) == 1 {
		return nil, nil
	}
	p.out = append(p.out, '}', ']')
	return p.out, nil
}

// step begins a step; where it adds or replaces something, the value has to follow.
func (p *Writer) step(op string, at place) {
	p.path = append(p.path[:0], at.path...)
	if at.index != whole {
		p.path = strconv.AppendInt(append(p.path, '/'), int64(at.index), 10)
	}
	p.path = append(p.path, at.field...)
	p.open(op)
}

// move takes an element of a list to another place; atEnd stands for the end.
func (p *Writer) move(path string, from, to int) {
	at := place{path: path, index: to}
	if to == atEnd {
		at = place{path: path, index: whole, field: "/-"}
	}
	p.step("move", at)
	p.raw(`,"from":"`)
	p.raw(path)
	p.out = strconv.AppendInt(append(p.out, '/'), int64(from), 10)
	p.raw(`"`)
}

// keyStep is step for a key of a map.
func (p *Writer) keyStep(op, path, key string) {
	p.path = append(append(p.path[:0], path...), '/')
	p.path = append(p.path, escape(key)...)
	p.open(op)
}

func (p *Writer) open(op string) {
	if len(p.out) > 1 {
		p.out = append(p.out, '}', ',')
	}
	p.raw(`{"op":"`)
	p.raw(op)
	p.raw(`","path":`)
	p.out, _ = jsontext.AppendQuote(p.out, p.path) // an error as in text
	if op == "add" || op == "replace" {
		p.raw(`,"value":`)
	}
}

// escape writes a key as part of a JSON pointer (RFC 6901).
func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

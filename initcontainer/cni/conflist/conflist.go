// Package conflist edits the network configuration of a node: it chains a plug-in behind
// those of the cluster's network, and takes it out again.
//
// The file belongs to others. Only the bytes of the plug-in's own entry are put in or taken
// out: what was there before is there byte for byte afterwards, in its own layout. The
// package is pure: file contents come in and go out.
package conflist

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Insert returns list with entry as its last plug-in. entry is one JSON object whose "type"
// names the plug-in; entries of that type which are there already are replaced. A list that
// has exactly entry, wherever, is returned as it is.
//
// It is an error if list is no list of plug-ins or lists none: a plug-in cannot be chained
// behind nothing.
func Insert(list, entry []byte) ([]byte, error) {
	kind, err := typeOf(entry)
	if err != nil {
		return nil, fmt.Errorf("read entry: %w", err)
	}
	spans, err := plugins(list)
	if err != nil {
		return nil, err
	}
	if present(list, spans, kind, entry) {
		return list, nil
	}
	if list, err = Remove(list, kind); err != nil {
		return nil, err
	}
	if spans, err = plugins(list); err != nil {
		return nil, err
	}
	if len(spans) == 0 {
		return nil, errors.New("the list has no plug-in to chain behind")
	}
	last := spans[len(spans)-1]
	lead := leading(list, last.start)
	text, err := layout(entry, lead)
	if err != nil {
		return nil, fmt.Errorf("lay out entry: %w", err)
	}
	out := bytes.Clone(list[:last.end])
	out = append(out, ","+lead...)
	out = append(out, text...)
	return append(out, list[last.end:]...), nil
}

// Remove returns list without the plug-ins of a type. What Insert put in is gone without a
// trace. It is an error if list is no list of plug-ins.
func Remove(list []byte, kind string) ([]byte, error) {
	spans, err := plugins(list)
	if err != nil {
		return nil, err
	}
	for i := len(spans) - 1; i >= 0; i-- {
		if spans[i].kind != kind {
			continue
		}
		start, end := spans[i].start, spans[i].end
		switch {
		case i > 0: // with the comma before it
			start = spans[i-1].end
		case len(spans) > 1: // with the comma behind it
			end = spans[1].start
		}
		list = append(bytes.Clone(list[:start]), list[end:]...)
		spans = append(spans[:i:i], spans[i+1:]...)
	}
	return list, nil
}

// Has reports whether list has a plug-in of a type; it has none if it is no list.
func Has(list []byte, kind string) bool {
	spans, err := plugins(list)
	if err != nil {
		return false
	}
	for _, s := range spans {
		if s.kind == kind {
			return true
		}
	}
	return false
}

// Usable reports whether list is a list with at least one plug-in that is not of the type.
func Usable(list []byte, kind string) bool {
	spans, err := plugins(list)
	if err != nil {
		return false
	}
	for _, s := range spans {
		if s.kind != kind {
			return true
		}
	}
	return false
}

// FromSingle makes a list of the configuration of a single plug-in, which cannot be chained
// to. It is an error if conf is none.
func FromSingle(conf []byte) ([]byte, error) {
	var head struct {
		Version string `json:"cniVersion"`
		Name    string `json:"name"`
		Type    string `json:"type"`
	}
	if err := json.Unmarshal(conf, &head); err != nil {
		return nil, err
	}
	if head.Type == "" {
		return nil, errors.New("the configuration names no plug-in")
	}
	list := struct {
		Version string            `json:"cniVersion,omitempty"`
		Name    string            `json:"name"`
		Plugins []json.RawMessage `json:"plugins"`
	}{head.Version, head.Name, []json.RawMessage{conf}}
	out, err := json.MarshalIndent(list, "", "  ")
	return append(out, '\n'), err
}

// span is where one plug-in stands in a list.
type span struct {
	start, end int // of its bytes
	kind       string
}

// plugins finds the elements of the top-level member "plugins".
func plugins(list []byte) ([]span, error) {
	dec := json.NewDecoder(bytes.NewReader(list))
	if err := expect(dec, '{'); err != nil {
		return nil, err
	}
	var found []span
	seen := false
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		if key != "plugins" {
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return nil, err
			}
			continue
		}
		if seen {
			return nil, errors.New("the list has two members \"plugins\"")
		}
		seen = true
		if found, err = elements(dec); err != nil {
			return nil, err
		}
	}
	if err := expect(dec, '}'); err != nil {
		return nil, err
	}
	if !seen {
		return nil, errors.New("the configuration has no member \"plugins\"")
	}
	return found, nil
}

// elements reads an array of plug-ins.
func elements(dec *json.Decoder) ([]span, error) {
	if err := expect(dec, '['); err != nil {
		return nil, err
	}
	var found []span
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, err
		}
		kind, err := typeOf(raw)
		if err != nil {
			return nil, err
		}
		end := int(dec.InputOffset())
		found = append(found, span{end - len(raw), end, kind})
	}
	return found, expect(dec, ']')
}

func expect(dec *json.Decoder, want json.Delim) error {
	got, err := dec.Token()
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%v stands where %q belongs", got, want.String())
	}
	return nil
}

func typeOf(entry []byte) (string, error) {
	var head struct {
		Type string `json:"type"`
	}
	err := json.Unmarshal(entry, &head)
	return head.Type, err
}

// present reports whether the list has the entry, once, whatever its layout.
func present(list []byte, spans []span, kind string, entry []byte) bool {
	count, same := 0, false
	for _, s := range spans {
		if s.kind == kind {
			count++
			same = equal(list[s.start:s.end], entry)
		}
	}
	return count == 1 && same
}

// equal compares two JSON texts but for their layout.
func equal(a, b []byte) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, a) != nil || json.Compact(&y, b) != nil {
		return false
	}
	return bytes.Equal(x.Bytes(), y.Bytes())
}

// leading is the blank between what precedes an element and the element.
func leading(list []byte, start int) string {
	i := start
	for i > 0 && strings.IndexByte(" \t\r\n", list[i-1]) >= 0 {
		i--
	}
	return string(list[i:start])
}

// layout writes entry as the elements beside it are: indented as they are where each stands
// on a line of its own, else on one line.
func layout(entry []byte, lead string) ([]byte, error) {
	var out bytes.Buffer
	at := strings.LastIndexByte(lead, '\n')
	if at < 0 {
		err := json.Compact(&out, entry)
		return out.Bytes(), err
	}
	indent := lead[at+1:]
	step := "  "
	if strings.HasPrefix(indent, "\t") {
		step = "\t"
	}
	err := json.Indent(&out, bytes.TrimSpace(entry), indent, step)
	return out.Bytes(), err
}

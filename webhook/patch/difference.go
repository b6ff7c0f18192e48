package patch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// element patches one element in place: object by object, so that fields which this
// program does not know stay. A list that changed is replaced: in it nothing says which
// element is which. It takes time in proportion to the element's size, and the same two
// elements give the same steps.
func (p *Writer) element(at place, from, to any) {
	if p.err != nil || reflect.DeepEqual(from, to) {
		return
	}
	a, err := generic(from)
	if err != nil {
		p.err = fmt.Errorf("compare %s/%d: %w", at.path, at.index, err)
		return
	}
	b, err := generic(to)
	if err != nil {
		p.err = fmt.Errorf("compare %s/%d: %w", at.path, at.index, err)
		return
	}
	p.difference(at, a, b)
}

// generic is a value as maps, lists and texts; numbers stay as they are written.
func generic(v any) (any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var out any
	return out, d.Decode(&out)
}

// difference compares the members of two objects. It adds where it could replace: both
// write the member, but adding does not ask for an old one, and an empty object or value
// may be missing in what the API server sent.
func (p *Writer) difference(at place, from, to any) {
	a, isObject := from.(map[string]any)
	b, stillIs := to.(map[string]any)
	if !isObject || !stillIs || len(a) == 0 {
		if !reflect.DeepEqual(from, to) {
			p.step("add", at)
			p.encode(to)
		}
		return
	}
	for _, key := range slices.Sorted(maps.Keys(a)) {
		below := at.below(at.field + "/" + escape(key))
		if value, ok := b[key]; ok {
			p.difference(below, a[key], value)
		} else {
			p.step("remove", below)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[key]; !ok {
			p.step("add", at.below(at.field+"/"+escape(key)))
			p.encode(b[key])
		}
	}
}

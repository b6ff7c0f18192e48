package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
)

// environment is the process environment with typed access. It gathers every value that
// does not parse, so that all are reported at once.
type environment struct {
	vars     map[string]string
	problems []error
}

func newEnvironment(environ []string) *environment {
	e := &environment{vars: make(map[string]string, len(environ))}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		e.vars[name] = value
	}
	return e
}

func (e *environment) fail(format string, args ...any) {
	e.problems = append(e.problems, fmt.Errorf(format, args...))
}

func (e *environment) err() error { return errors.Join(e.problems...) }

// text returns the value of name, or def if it is unset or empty.
func (e *environment) text(name, def string) string {
	if v := e.vars[name]; v != "" {
		return v
	}
	return def
}

func (e *environment) flag(name string, def bool) bool {
	v := e.vars[name]
	if v == "" {
		return def
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		e.fail("environment %s: %q is neither true nor false", name, v)
	}
	return b
}

func (e *environment) duration(name string, def time.Duration) time.Duration {
	v := e.vars[name]
	if v == "" {
		return def
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		e.fail("environment %s: %q is not a duration such as 5s", name, v)
	}
	return d
}

func (e *environment) port(name string, def uint16) uint16 {
	v := e.vars[name]
	if v == "" {
		return def
	}
	p, err := strconv.ParseUint(v, 10, 16)
	if err != nil {
		e.fail("environment %s: %q is not a port", name, v)
	}
	return uint16(p)
}

// ratio reads a number between 0 and 1.
func (e *environment) ratio(name string, def float64) float64 {
	v := e.vars[name]
	if v == "" {
		return def
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || f < 0 || f > 1 {
		e.fail("environment %s: %q is not a number between 0 and 1", name, v)
	}
	return f
}

// prefixed returns the variables whose name starts with prefix, without it.
func (e *environment) prefixed(prefix string) map[string]string {
	out := map[string]string{}
	for name, v := range e.vars {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
			out[rest] = v
		}
	}
	return out
}

// metadata returns the user's node metadata: ISTIO_META_X=v gives X, and every
// ISTIO_METAJSON_* object is laid over it, its non-string values as JSON text.
// ISTIO_METAJSON_LABELS holds labels and is returned apart.
func (e *environment) metadata() (meta, labels map[string]string) {
	meta, labels = e.prefixed("ISTIO_META_"), map[string]string{}
	for suffix, text := range e.prefixed("ISTIO_METAJSON_") {
		into := meta
		if suffix == "LABELS" {
			into = labels
		}
		values, err := jsonStrings(text)
		if err != nil {
			e.fail("environment ISTIO_METAJSON_%s: %w", suffix, err)
		}
		maps.Copy(into, values)
	}
	return meta, labels
}

// jsonStrings reads a JSON object as text values.
func jsonStrings(text string) (map[string]string, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, err
	}
	out := make(map[string]string, len(raw))
	for k, v := range raw {
		var s string
		if json.Unmarshal(v, &s) != nil {
			s = string(v)
		}
		out[k] = s
	}
	return out, nil
}

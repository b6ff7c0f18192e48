package patch

import (
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"
)

// appender writes JSON into memory that it keeps for the next time.
type appender struct {
	out     []byte
	encoder *json.Encoder // into out
	err     error         // the first one
}

func (a *appender) reset() {
	a.out, a.err = a.out[:0], nil
	if a.encoder == nil {
		a.encoder = json.NewEncoder(a)
	}
}

// raw writes what is JSON, or a part of it, already.
func (a *appender) raw(s string) { a.out = append(a.out, s...) }

// text writes a string. Bytes that are no UTF-8 are replaced, as by encoding/json.
func (a *appender) text(s string) {
	a.out, _ = jsontext.AppendQuote(a.out, s) // the error says no more than that some were
}

// encode writes any value.
func (a *appender) encode(v any) {
	if a.err != nil {
		return
	}
	if a.err = a.encoder.Encode(v); a.err == nil {
		a.out = a.out[:len(a.out)-1] // the encoder ends a value with a line break
	}
}

// Write implements io.Writer for the encoder.
func (a *appender) Write(data []byte) (int, error) {
	a.out = append(a.out, data...)
	return len(data), nil
}

package template

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// The bounds of one template and one pod. A template that reaches them is mistaken: a pod
// of 1 MiB is refused by etcd, and no pod has as many containers and ports.
const (
	maxBytes = 1 << 20
	maxSteps = 20_000
)

// noValue is what text/template prints for a map's missing key.
var noValue = []byte("<no value>")

// Patch is the strategic merge patch of a Pod that a template gave for one pod. Numbers
// are int64 or float64, as in unstructured objects. The receiver owns it.
type Patch map[string]any

// Render runs the named template, which must be one of Names, for one pod. The data is not
// modified. Warnings are sentences about output that is likely not meant. The error is an
// *Error: the template failed, or its output is no YAML object.
func (s *Set) Render(name string, data Data) (patch Patch, warnings []string, err error) {
	t := s.templates[name]
	if t == nil {
		return nil, nil, failure(name, "there is no such template")
	}
	out := &meter{}
	if err := t.Execute(out, data.clone()); err != nil {
		if errors.Is(err, errTooLarge) || errors.Is(err, errTooLong) {
			return nil, nil, failure(name, "%v", err)
		}
		return nil, nil, located(name, err)
	}
	text, err := yaml.YAMLToJSON(out.buf.Bytes())
	if err != nil {
		return nil, nil, failure(name, "the output is no YAML: %v%s", err, quoteLine(err, out.buf.String()))
	}
	if string(text) == "null" {
		return nil, nil, nil // nothing for this pod
	}
	if text[0] != '{' {
		return nil, nil, failure(name, "the output is no object, write metadata and spec")
	}
	if err := utiljson.Unmarshal(text, &patch); err != nil {
		return nil, nil, failure(name, "read the output: %v", err)
	}
	if bytes.Contains(out.buf.Bytes(), noValue) {
		warnings = append(warnings, "prints <no value>: it uses a value that does not exist")
	}
	return patch, warnings, nil
}

// lineNumber is how the YAML library names a place.
var lineNumber = regexp.MustCompile(`line (\d+)`)

// maxQuote bounds what a message repeats of the output.
const maxQuote = 100

// quoteLine repeats the line of the output that err names: the user never sees the output.
func quoteLine(err error, output string) string {
	m := lineNumber.FindStringSubmatch(err.Error())
	if m == nil {
		return ""
	}
	n, convErr := strconv.Atoi(m[1])
	lines := strings.Split(output, "\n")
	if convErr != nil || n < 1 || n > len(lines) {
		return ""
	}
	line := lines[n-1]
	return fmt.Sprintf(", which is %.*q", maxQuote, line)
}

var (
	errTooLarge = fmt.Errorf("the output is larger than %d bytes", maxBytes)
	errTooLong  = fmt.Errorf("more than %d steps of loops: it does not seem to end", maxSteps)
)

// meter collects the output and stops the template at its bounds.
type meter struct {
	buf   bytes.Buffer
	steps int
}

// Write implements io.Writer. Writes of nothing are the steps that countSteps put in.
func (m *meter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		m.steps++
		if m.steps > maxSteps {
			return 0, errTooLong
		}
		return 0, nil
	}
	if m.buf.Len()+len(p) > maxBytes {
		return 0, errTooLarge
	}
	return m.buf.Write(p)
}

package template

import (
	"fmt"
	"maps"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"

	"github.com/sluicemesh/sluice/webhook/multus"
)

// impureFunctions are functions of Sprig's that answer differently from call to call beside
// those that Sprig leaves out itself, or that are made to take long. With them a pod that
// is injected twice would change.
func impureFunctions() []string {
	return []string{
		"ago", "durationRound", "toDate", "mustToDate", "must_date_modify", "mustDateModify",
		"randInt", "shuffle", "bcrypt", "htpasswd", "derivePassword", "encryptAES", "buildCustomCert",
		"genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey",
		"genSignedCert", "genSignedCertWithKey",
	}
}

// functions is what templates can call: Sprig's functions on text, lists and maps, and over
// them those of Istio's injector.
func functions(environment map[string]string) template.FuncMap {
	out := sprig.HermeticTxtFuncMap()
	for _, name := range impureFunctions() {
		delete(out, name)
	}
	maps.Copy(out, bounded())
	maps.Copy(out, template.FuncMap{
		"annotation":             annotation,
		"appendMultusNetwork":    multus.Append,
		"applicationPorts":       applicationPorts,
		"contains":               func(needle, haystack string) bool { return strings.Contains(haystack, needle) },
		"directory":              directory,
		"env":                    lookup(environment),
		"excludeInboundPort":     excludeInboundPort,
		"excludeInterfaces":      interfaces,
		"formatDuration":         formatDuration,
		"fromJSON":               fromJSON,
		"includeInboundPorts":    includeInboundPorts,
		"indent":                 indent,
		"isset":                  isset,
		"keys":                   keys,
		"kubevirtInterfaces":     interfaces,
		"mergeMaps":              mergeMaps,
		"omit":                   omit,
		"omitNil":                omitNil,
		"otelResourceAttributes": otelResourceAttributes,
		"protoToJSON":            protoToJSON,
		"strdict":                strdict,
		"structToJSON":           toJSON,
		"toJSON":                 toJSON,
		"toJsonMap":              toJSONMap,
		"toLower":                strings.ToLower,
		"toYaml":                 toYAML,
		"valueOrDefault":         valueOrDefault,
		"values":                 values,
	})
	return out
}

// lookup answers for the control plane's environment as the values give it. The process's
// own is not asked: a pod must come out of every replica and of the command line the same.
func lookup(environment map[string]string) func(name, value string) string {
	return func(name, value string) string {
		if v, ok := environment[name]; ok {
			return v
		}
		return value
	}
}

// maxCount bounds what a single call can make.
const maxCount = 10_000

// bounded are functions of Sprig's that make as much as their argument says.
func bounded() template.FuncMap {
	list := func(start, stop, step int) ([]int, error) {
		if step == 0 || (stop > start) != (step > 0) {
			return []int{}, nil
		}
		var out []int
		for i := start; i != stop && (i < stop) == (step > 0); i += step {
			if len(out) == maxCount {
				return nil, fmt.Errorf("more than %d numbers are too many", maxCount)
			}
			out = append(out, i)
		}
		return out, nil
	}
	return template.FuncMap{
		"until": func(n int) ([]int, error) {
			if n < 0 {
				return list(0, n, -1)
			}
			return list(0, n, 1)
		},
		"untilStep": list,
		"repeat": func(n int, s string) (string, error) {
			if n < 0 || n > maxBytes || n*len(s) > maxBytes {
				return "", fmt.Errorf("repeat %d times is out of bounds", n)
			}
			return strings.Repeat(s, n), nil
		},
		"seq": func(args ...int) (string, error) {
			start, step, stop := 1, 1, 0
			switch len(args) {
			case 1:
				stop = args[0]
			case 2:
				start, stop = args[0], args[1]
			case 3:
				start, step, stop = args[0], args[1], args[2]
			default:
				return "", nil
			}
			if stop < start && len(args) < 3 {
				step = -1
			}
			if step < 0 {
				stop--
			} else {
				stop++
			}
			numbers, err := list(start, stop, step)
			return strings.Trim(fmt.Sprint(numbers), "[]"), err
		},
		"nindent": func(n int, s string) (string, error) {
			if n < 0 || n > maxIndent {
				return "", fmt.Errorf("nindent by %d is out of bounds", n)
			}
			pad := strings.Repeat(" ", n)
			return "\n" + pad + strings.ReplaceAll(s, "\n", "\n"+pad), nil
		},
	}
}

// maxIndent bounds indentation; YAML that is deeper is not meant.
const maxIndent = 1000

// indent moves all lines but the first to the right: the first one stands behind the
// blanks that the template itself has. Sprig's function of the name moves the first as well.
func indent(n int, s string) (string, error) {
	if n < 0 || n > maxIndent {
		return "", fmt.Errorf("indent by %d is out of bounds", n)
	}
	return strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n)), nil
}

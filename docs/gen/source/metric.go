package source

import (
	"go/ast"
	"slices"
	"strings"
)

// The types of metrics by the option type that makes them.
func metricTypes() map[string]string {
	return map[string]string{
		"CounterOpts": "counter", "GaugeOpts": "gauge", "HistogramOpts": "histogram", "SummaryOpts": "summary",
	}
}

// Metrics lists the metrics that a package declares, sorted by name. prefix is put before
// the names of those that are made by a helper or registered with a prefix.
func (f Folder) Metrics(prefix string) []Metric {
	var found []Metric
	for _, file := range f.files {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			m, ok := options(call)
			if !ok {
				m, ok = helper(call)
			}
			if ok {
				m.Name, m.Package = prefix+m.Name, f.Path
				found = append(found, m)
			}
			return true
		})
	}
	slices.SortFunc(found, func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// options reads prometheus.NewX(prometheus.XOpts{Name: …, Help: …}, []string{labels}).
func options(call *ast.CallExpr) (Metric, bool) {
	if len(call.Args) == 0 {
		return Metric{}, false
	}
	lit, ok := call.Args[0].(*ast.CompositeLit)
	if !ok {
		return Metric{}, false
	}
	sel, ok := lit.Type.(*ast.SelectorExpr)
	if !ok || metricTypes()[sel.Sel.Name] == "" {
		return Metric{}, false
	}
	m := Metric{Type: metricTypes()[sel.Sel.Name]}
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		value, _ := text(kv.Value)
		switch key, _ := kv.Key.(*ast.Ident); key.Name {
		case "Name":
			m.Name = value
		case "Help":
			m.Help = value
		case "ConstLabels":
			m.Labels = append(m.Labels, keys(kv.Value)...)
		}
	}
	if len(call.Args) > 1 {
		m.Labels = append(m.Labels, words(call.Args[1])...)
	}
	return m, m.Name != ""
}

// helper reads counter(name, help) and vector(name, help, label).
func helper(call *ast.CallExpr) (Metric, bool) {
	fun, ok := call.Fun.(*ast.Ident)
	if !ok || fun.Name != "counter" && fun.Name != "vector" || len(call.Args) < 2 {
		return Metric{}, false
	}
	var given []string
	for _, a := range call.Args {
		w, ok := text(a)
		if !ok {
			return Metric{}, false
		}
		given = append(given, w)
	}
	return Metric{Name: given[0], Help: given[1], Labels: given[2:], Type: "counter"}, true
}

// words are the elements of a []string literal.
func words(e ast.Expr) []string {
	lit, ok := e.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	var all []string
	for _, e := range lit.Elts {
		if s, ok := text(e); ok {
			all = append(all, s)
		}
	}
	return all
}

// keys are the keys of a map literal.
func keys(e ast.Expr) []string {
	lit, ok := e.(*ast.CompositeLit)
	if !ok {
		return nil
	}
	var all []string
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if s, ok := text(kv.Key); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

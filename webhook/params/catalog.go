package params

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicemesh/sluice/internal/meta"
)

// Catalog says which templates a mesh has beside the native ones.
type Catalog struct {
	// Default lists what is injected where the pod does not say; empty for the sidecar.
	Default []string
	// Aliases names lists of templates; they are followed once.
	Aliases map[string][]string
	// Texts holds the names of text templates. One named sidecar or gateway takes the place
	// of the native one.
	Texts map[string]bool
}

// UnknownTemplate is the reason of the problem of a template's name that nobody knows.
const UnknownTemplate = "UnknownTemplate"

// Chosen lists the templates that names stand for, in order and once each; the first of
// unknown is not empty where a name is none. c may be nil.
func (c *Catalog) chosen(names []string) (chosen []string, unknown []string) {
	for _, name := range names {
		list := []string{name}
		if c != nil && len(c.Aliases[name]) > 0 {
			list = c.Aliases[name]
		}
		for _, t := range list {
			switch {
			case slices.Contains(chosen, t):
			case c.knows(t):
				chosen = append(chosen, t)
			default:
				unknown = append(unknown, t)
			}
		}
	}
	return chosen, unknown
}

// native reports whether the template is written by render itself.
func (c *Catalog) native(name string) bool {
	return (name == string(Sidecar) || name == string(Gateway)) && (c == nil || !c.Texts[name])
}

func (c *Catalog) knows(name string) bool { return c.native(name) || c != nil && c.Texts[name] }

// names lists what a pod can name, in order.
func (c *Catalog) names() []string {
	all := map[string]bool{string(Sidecar): true, string(Gateway): true}
	if c != nil {
		maps.Copy(all, c.Texts)
		for name := range c.Aliases {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Unknown returns the names in Default and Aliases that are no template's, in order: the
// configuration that holds them cannot be used.
func (c *Catalog) Unknown() []string {
	_, unknown := c.chosen(c.Default)
	for _, name := range slices.Sorted(maps.Keys(c.Aliases)) {
		for _, t := range c.Aliases[name] {
			if !c.knows(t) {
				unknown = append(unknown, t)
			}
		}
	}
	slices.Sort(unknown)
	return slices.Compact(unknown)
}

// templates reads which templates are asked for: the native one, which the others are laid
// over, and the text templates in order.
func (r *reader) templates() (Template, []string) {
	text, ok := r.get(meta.Templates)
	if !ok && (r.Catalog == nil || len(r.Catalog.Default) == 0) && r.Catalog.native(string(Sidecar)) {
		return Sidecar, nil
	}
	var names []string
	switch {
	case ok:
		names = splitNames(text)
	case r.Catalog != nil && len(r.Catalog.Default) > 0:
		names = r.Catalog.Default
	default:
		names = []string{string(Sidecar)}
	}
	chosen, unknown := r.Catalog.chosen(names)
	known := ""
	if len(unknown) > 0 {
		known = strings.Join(r.Catalog.names(), ", ")
	}
	for _, name := range unknown[:min(len(unknown), mostMistakes)] {
		r.report(annotation(meta.Templates), UnknownTemplate, true,
			"template "+strconv.Quote(name)+" does not exist, there are "+known)
	}
	base, texts := None, []string(nil)
	for _, name := range chosen {
		switch {
		case !r.Catalog.native(name):
			texts = append(texts, name)
		case base == None:
			base = Template(name)
		default:
			r.bad(meta.Templates, "%q names both sidecar and gateway, write one of them", text)
		}
	}
	if len(chosen) == 0 && len(unknown) == 0 {
		r.bad(meta.Templates, "%q does not name a template, there are %s", text, strings.Join(r.Catalog.names(), ", "))
	}
	return base, texts
}

// splitNames splits at commas and drops blanks and what is empty.
func splitNames(text string) []string {
	var out []string
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, word)
		}
	}
	return out
}

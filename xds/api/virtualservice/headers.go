package virtualservice

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	networkingv1alpha3 "istio.io/api/networking/v1alpha3"

	"github.com/sluicemesh/sluice/xds/api/object"
	"github.com/sluicemesh/sluice/xds/ir"
)

func (c *converter) headers(path string, h *networkingv1alpha3.Headers) (request, response ir.HeaderOps) {
	return c.headerOps(path+".request", h.GetRequest()), c.headerOps(path+".response", h.GetResponse())
}

func (c *converter) headerOps(path string, h *networkingv1alpha3.Headers_HeaderOperations) ir.HeaderOps {
	var out ir.HeaderOps
	out.Set = c.headerList(path+".set", h.GetSet())
	out.Add = c.headerList(path+".add", h.GetAdd())
	for i, name := range h.GetRemove() {
		if name == "" || strings.HasPrefix(name, ":") || strings.EqualFold(name, "host") {
			c.Fatal(fmt.Sprintf("%s.remove[%d]", path, i), object.InvalidValue, "%q cannot be removed", name)
			continue
		}
		c.headerName(fmt.Sprintf("%s.remove[%d]", path, i), name)
		out.Remove = append(out.Remove, name)
	}
	return out
}

// headerList sorts headers by name. Of the pseudo headers only the host can be changed.
func (c *converter) headerList(path string, headers map[string]string) []ir.Header {
	var out []ir.Header
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if name == "" || strings.HasPrefix(name, ":") && name != ":authority" {
			c.Fatal(path+"["+name+"]", object.InvalidValue, "%q cannot be changed", name)
			continue
		}
		c.headerName(path+"["+name+"]", name)
		c.headerValue(path+"["+name+"]", headers[name])
		out = append(out, ir.Header{Name: name, Value: headers[name]})
	}
	return out
}

// headerName refuses what cannot be in a header's name: Envoy would refuse the whole virtual
// host for it.
func (c *converter) headerName(path, name string) {
	if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		c.Fatal(path, object.InvalidValue, "%q is not the name of a header; write visible ASCII without spaces", name)
	}
}

// formatted is a text with Envoy's commands in it, %NAME%, %NAME(ARGUMENTS)% or with :LENGTH.
var formatted = regexp.MustCompile(`^(?:[^%]|%%|%[A-Z0-9_]+(?:\(.*?\))?(?::[0-9]+)?%)*$`)

// headerValue refuses values that Envoy does not take: a line break, or a percent sign that
// neither begins a command such as %DOWNSTREAM_REMOTE_ADDRESS% nor is doubled. Whether Envoy
// knows the command is Envoy's to say.
func (c *converter) headerValue(path, value string) {
	c.oneLine(path, value)
	if strings.Contains(value, "%") && !formatted.MatchString(value) {
		c.Fatal(path, object.InvalidValue, "%q has a single %%; write %%%% for the sign itself, or a whole command such as %%PROTOCOL%%", value)
	}
}

// oneLine refuses a text that would break out of its line of the request.
func (c *converter) oneLine(path, text string) {
	if strings.ContainsAny(text, "\x00\r\n") {
		c.Fatal(path, object.InvalidValue, "%q has a line break or a NUL in it; remove it", text)
	}
}

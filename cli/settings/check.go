package settings

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/meshconfig"
	"github.com/sluicemesh/sluice/internal/problem"
)

// check finds what is wrong with settings whose names and types are right.
func (s Settings) check(origin problem.Origin) []problem.Problem {
	c := checker{origin: origin}
	c.label("revision", s.Revision)
	c.label("namespace", s.Namespace)
	c.label("components.cni.namespace", s.Components.CNI.Namespace)
	if s.Hub == "" {
		c.report("hub", "Missing", "name the registry and folder of the images")
	}
	c.gateways("components.ingressGateways", s.Components.IngressGateways)
	c.gateways("components.egressGateways", s.Components.EgressGateways)
	c.mesh(s.MeshConfig)
	return c.found
}

type checker struct {
	origin problem.Origin
	found  []problem.Problem
}

func (c *checker) report(path, reason, message string) {
	c.found = append(c.found, problem.Problem{Origin: c.origin, Path: path, Reason: reason, Message: message, Fatal: true})
}

// label demands a DNS label, if anything.
func (c *checker) label(path, value string) {
	if value == "" {
		return
	}
	if msgs := validation.IsDNS1123Label(value); len(msgs) > 0 {
		c.report(path, "InvalidName", fmt.Sprintf("%q: %s", value, strings.Join(msgs, "; ")))
	}
}

// gateways demands distinct names.
func (c *checker) gateways(path string, gateways []Gateway) {
	seen := map[string]bool{}
	for i, g := range gateways {
		at := fmt.Sprintf("%s[%d]", path, i)
		if g.Name == "" {
			c.report(at+".name", "Missing", "name the gateway")
		}
		c.label(at+".name", g.Name)
		c.label(at+".namespace", g.Namespace)
		if key := g.Namespace + "/" + g.Name; seen[key] {
			c.report(at+".name", "Duplicate", fmt.Sprintf("%q is there twice", g.Name))
		} else {
			seen[key] = true
		}
	}
}

// mesh reads the mesh configuration as the control plane will.
func (c *checker) mesh(mesh map[string]any) {
	data, err := yaml.Marshal(mesh)
	if err != nil {
		panic(err) // a tree that was read from YAML
	}
	_, unknown, err := meshconfig.Parse(string(data))
	if err != nil {
		c.report("meshConfig", "WrongType", err.Error())
	}
	for _, u := range unknown {
		c.report("meshConfig", "UnknownSetting", u.String())
	}
}

// Package manifests carries the Helm charts and installation profiles of a mesh and renders
// the charts.
//
// The charts (base, istiod, gateway, cni) install as they are with Helm; the command line
// renders the same charts through Render. Everything is embedded: the package reads no file
// and no cluster, and rendering is a pure function of its arguments. It does not know
// profiles' meaning; package settings of the command line does.
package manifests

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

//go:embed all:charts profiles/*.yaml
var files embed.FS

// Names of the charts.
const (
	Base    = "base"    // definitions of the custom resources
	Istiod  = "istiod"  // the control plane
	Gateway = "gateway" // one gateway
	CNI     = "cni"     // the network plug-in
)

// Release is where a chart is rendered for.
type Release struct {
	// Chart is Base, Istiod, Gateway or CNI.
	Chart string
	// Name and Namespace are what Helm calls the release's.
	Name, Namespace string
	// Values are laid over the chart's own; names the chart does not know are refused.
	Values map[string]any
}

// Profiles lists the names of the profiles in alphabetical order.
func Profiles() []string {
	entries, err := fs.ReadDir(files, "profiles")
	if err != nil {
		panic(err) // embedded above
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".yaml")
	}
	return names
}

// Profile returns the YAML of one profile, an IstioOperator object; false when there is none.
func Profile(name string) ([]byte, bool) {
	if !slices.Contains(Profiles(), name) {
		return nil, false
	}
	data, err := fs.ReadFile(files, path.Join("profiles", name+".yaml"))
	return data, err == nil
}

// Defaults returns the values of a chart as its values.yaml has them: new, owned by the
// caller. An empty map in them is one below which any name may be set.
func Defaults(chartName string) (map[string]any, error) {
	c, err := load(chartName)
	if err != nil {
		return nil, err
	}
	return c.Values, nil
}

// Render returns the objects of a release in the order of the chart's files and of their
// documents. Definitions of custom resources are among them, as they are templates.
func Render(r Release) ([]*unstructured.Unstructured, error) {
	c, err := load(r.Chart)
	if err != nil {
		return nil, err
	}
	values, err := util.ToRenderValues(c, r.Values, common.ReleaseOptions{
		Name: r.Name, Namespace: r.Namespace, Revision: 1, IsInstall: true,
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("values of chart %s: %w", r.Chart, err)
	}
	texts, err := engine.Render(c, values)
	if err != nil {
		return nil, fmt.Errorf("render chart %s: %w", r.Chart, err)
	}
	var objects []*unstructured.Unstructured
	for _, t := range c.Templates {
		if strings.HasSuffix(t.Name, ".tpl") {
			continue
		}
		found, err := Decode(texts[path.Join(c.Name(), t.Name)])
		if err != nil {
			return nil, fmt.Errorf("read %s of chart %s: %w", t.Name, r.Chart, err)
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

// Decode reads a stream of YAML documents; empty documents are left out.
func Decode(stream string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, doc := range strings.Split("\n"+stream, "\n---") {
		var content map[string]any
		if err := yaml.Unmarshal([]byte(doc), &content); err != nil {
			return nil, err
		}
		if len(content) > 0 {
			objects = append(objects, &unstructured.Unstructured{Object: content})
		}
	}
	return objects, nil
}

// load builds a chart from the embedded files, in the order of their names.
func load(name string) (*chart.Chart, error) {
	root := path.Join("charts", name)
	var buffered []*archive.BufferedFile
	err := fs.WalkDir(files, root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, p)
		buffered = append(buffered, &archive.BufferedFile{Name: strings.TrimPrefix(p, root+"/"), Data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read chart %s: %w", name, err)
	}
	c, err := loader.LoadFiles(buffered)
	if err != nil {
		return nil, fmt.Errorf("load chart %s: %w", name, err)
	}
	return c, nil
}

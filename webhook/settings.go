package webhook

import (
	"encoding/json"
	"fmt"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/meshconfig"
	"github.com/sluicemesh/sluice/webhook/params"
	"github.com/sluicemesh/sluice/webhook/patch"
	"github.com/sluicemesh/sluice/webhook/policy"
)

// Source is the injector's configuration as text, as the ConfigMaps hold it. Every text
// may be empty: the built-in settings hold then.
type Source struct {
	Mesh   string // MeshConfig as YAML
	Values string // subset of the chart's values as JSON
	Config string // policy and selectors as YAML
	// Install says which control plane injects.
	Install params.Install
	// Tag is the image tag where the values name none.
	Tag string
}

// Settings is everything an injection depends on beside the pod: one immutable snapshot.
type Settings struct {
	Rules    policy.Rules
	Defaults *params.Defaults
	// ProxyConfigs are the cluster's objects of that kind, nil for none. They come from
	// elsewhere than the rest; NewSettings leaves them nil.
	ProxyConfigs *params.ProxyConfigs
	// Notes say what of the configuration was left out or has no effect, a sentence each.
	Notes []string

	templates *templates
	known     patch.Fragments // of Defaults
}

// injectorConfig is the key "config" of the injector's ConfigMap.
type injectorConfig struct {
	Policy              policy.Policy       `json:"policy"`
	Always              []json.RawMessage   `json:"alwaysInjectSelector"`
	Never               []json.RawMessage   `json:"neverInjectSelector"`
	DefaultTemplates    []string            `json:"defaultTemplates"`
	Templates           map[string]string   `json:"templates"`
	Aliases             map[string][]string `json:"aliases"`
	InjectedAnnotations map[string]string   `json:"injectedAnnotations"`
}

// NewSettings reads the configuration. The error names the text and the setting that
// cannot be used; a setting of Istio's that Sluice does not have is an error as well, so
// that none is dropped silently.
func NewSettings(src Source) (*Settings, error) {
	mesh, unknown, err := meshconfig.Parse(src.Mesh)
	if err != nil {
		return nil, err
	}
	values, err := params.ParseValues(src.Values, src.Tag)
	if err != nil {
		return nil, err
	}
	defaults, err := params.Prepare(mesh, values, src.Install)
	if err != nil {
		return nil, err
	}
	var config injectorConfig
	if err := yaml.Unmarshal([]byte(src.Config), &config); err != nil {
		return nil, fmt.Errorf("parse injector config: %w", err)
	}
	rules, notes := parseRules(config, policy.Policy(values.Global.Proxy.AutoInject))
	defaults.Annotations = config.InjectedAnnotations
	for _, u := range unknown {
		notes = append(notes, "mesh config: "+u.String())
	}
	known, err := patch.Learn(defaults)
	if err != nil {
		return nil, fmt.Errorf("encode what all pods share: %w", err)
	}
	texts, err := compileTemplates(config, values, src.Values)
	if err != nil {
		return nil, fmt.Errorf("parse injector config: %w", err)
	}
	return &Settings{
		Rules: rules, Defaults: defaults, known: known, Notes: slices.Concat(defaults.Notes, notes), templates: texts,
	}, nil
}

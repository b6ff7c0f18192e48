package webhook

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/sluicemesh/sluice/internal/meshconfig"
	"github.com/sluicemesh/sluice/webhook/params"
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

	templates *templates
}

// injectorConfig is the key "config" of the injector's ConfigMap.
type injectorConfig struct {
	Policy              policy.Policy          `json:"policy"`
	Always              []metav1.LabelSelector `json:"alwaysInjectSelector"`
	Never               []metav1.LabelSelector `json:"neverInjectSelector"`
	DefaultTemplates    []string               `json:"defaultTemplates"`
	Templates           map[string]string      `json:"templates"`
	Aliases             map[string][]string    `json:"aliases"`
	InjectedAnnotations map[string]string      `json:"injectedAnnotations"`
}

// NewSettings reads the configuration. The error names the text and the setting that
// cannot be used; a setting of Istio's that Sluice does not have is an error as well, so
// that none is dropped silently.
func NewSettings(src Source) (*Settings, error) {
	mesh, err := meshconfig.Parse(src.Mesh)
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
	rules, err := parseRules(config, policy.Policy(values.Global.Proxy.AutoInject))
	if err != nil {
		return nil, fmt.Errorf("parse injector config: %w", err)
	}
	texts, err := compileTemplates(config, values, src.Values)
	if err != nil {
		return nil, fmt.Errorf("parse injector config: %w", err)
	}
	return &Settings{Rules: rules, Defaults: defaults, templates: texts}, nil
}

func parseRules(c injectorConfig, fallback policy.Policy) (policy.Rules, error) {
	if len(c.InjectedAnnotations) > 0 {
		return policy.Rules{}, fmt.Errorf("injectedAnnotations are not supported: remove them")
	}
	if c.Policy == "" {
		c.Policy = fallback
	}
	rules := policy.Rules{Policy: c.Policy}
	var errs []error
	rules.Never, errs = policy.Selectors(c.Never)
	if len(errs) > 0 {
		return policy.Rules{}, fmt.Errorf("neverInjectSelector: %w", errs[0])
	}
	rules.Always, errs = policy.Selectors(c.Always)
	if len(errs) > 0 {
		return policy.Rules{}, fmt.Errorf("alwaysInjectSelector: %w", errs[0])
	}
	return rules, nil
}

package params

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/sluicemesh/sluice/internal/capture"
	"github.com/sluicemesh/sluice/internal/meta"
	"github.com/sluicemesh/sluice/internal/proxystats"
)

// mostMistakes bounds how many mistakes are told of one annotation, and of names: a user
// reads the first ones, and a message has a size.
const mostMistakes = 10

// badEach reports the mistakes that err joins, each on its own.
func (r *reader) badEach(key string, err error) {
	mistakes := each(err)
	for i, mistake := range mistakes {
		if i == mostMistakes {
			r.bad(key, "and %d more", len(mistakes)-i)
			return
		}
		r.bad(key, "%v", mistake)
	}
}

// levels checks the annotated log levels: the programs exit at once on one they do not know.
func (r *reader) levels() {
	r.level(meta.LogLevel, envoyLevels)
	r.level(meta.ComponentLogLevel, componentLevels)
	r.level(meta.AgentLogLevel, agentLevels)
}

func (r *reader) level(key string, check func(string) error) {
	if v := r.Pod.Annotations[key]; v != "" {
		r.badEach(key, check(v))
	}
}

// logs checks the log levels of the values, as levels those of a pod.
func (v *Values) logs() error {
	for _, s := range []struct {
		path, text string
		check      func(string) error
	}{
		{"global.proxy.logLevel", v.Global.Proxy.LogLevel, envoyLevels},
		{"global.proxy.componentLogLevel", v.Global.Proxy.ComponentLogLevel, componentLevels},
		{"global.logging.level", v.Global.Logging.Level, agentLevels},
	} {
		if err := s.check(s.text); err != nil {
			return fmt.Errorf("values: %s: %w", s.path, err)
		}
	}
	return nil
}

// ranges checks what the values say of traffic, as capture that of a pod.
func (v *Values) ranges() error {
	in := &v.Global.Proxy.Ranges
	for _, s := range []struct {
		path string
		err  error
	}{
		{"includeIPRanges", failure(capture.ParseRanges(string(in.IncludeIPRanges)))},
		{"excludeIPRanges", failure(capture.ParsePrefixes(string(in.ExcludeIPRanges)))},
		{"includeInboundPorts", failure(capture.ParsePorts(string(in.IncludeInboundPorts)))},
		{"excludeInboundPorts", failure(capture.ParsePortList(string(in.ExcludeInboundPorts)))},
		{"includeOutboundPorts", failure(capture.ParsePortList(string(in.IncludeOutboundPorts)))},
		{"excludeOutboundPorts", failure(capture.ParsePortList(string(in.ExcludeOutboundPorts)))},
	} {
		if s.err != nil {
			return fmt.Errorf("values: global.proxy.%s: %w", s.path, s.err)
		}
	}
	return nil
}

func failure[T any](_ T, err error) error { return err }

// envoyLevels reads "level" or "level,component:level", in any order.
func envoyLevels(text string) error {
	return words(text, func(word string) error {
		if component, level, ok := strings.Cut(word, ":"); ok {
			return componentLevel(word, component, level)
		}
		if !isEnvoyLevel(word) {
			return fmt.Errorf("%q is not a log level, write trace, debug, info, warning, error, critical or off", word)
		}
		return nil
	})
}

// componentLevels reads "component:level,…".
func componentLevels(text string) error {
	return words(text, func(word string) error {
		component, level, _ := strings.Cut(word, ":")
		return componentLevel(word, component, level)
	})
}

func componentLevel(word, component, level string) error {
	if component == "" || !isEnvoyLevel(level) {
		return fmt.Errorf("%q is not COMPONENT:LEVEL, the levels are trace, debug, info, warning, error, critical and off", word)
	}
	return nil
}

func isEnvoyLevel(word string) bool {
	return slices.Contains([]string{"trace", "debug", "info", "warn", "warning", "error", "err", "critical", "off"}, word)
}

// agentLevels reads "level" or "scope:level,…".
func agentLevels(text string) error {
	return words(text, func(word string) error {
		level := word[strings.LastIndexByte(word, ':')+1:]
		if !slices.Contains([]string{"debug", "info", "warn", "error", "fatal", "none"}, level) {
			return fmt.Errorf("%q is not SCOPE:LEVEL, the levels are debug, info, warn, error, fatal and none", word)
		}
		return nil
	})
}

// words judges the words of a list separated by commas and joins the mistakes.
func words(text string, check func(string) error) error {
	var mistakes []error
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		if err := check(word); err != nil {
			mistakes = append(mistakes, err)
		}
	}
	return errors.Join(mistakes...)
}

// imageType is what may end the tag of an image.
var imageType = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)

// imageWords checks the words that make up an image reference: a container with a broken
// one never starts, and says so to nobody who asks for the pod.
func (r *reader) imageWords() {
	if v := r.Pod.Annotations[meta.ProxyImage]; strings.ContainsFunc(v, blank) {
		r.bad(meta.ProxyImage, "%q is not an image, write a reference without blanks", v)
	}
	if v := r.Pod.Annotations[meta.ProxyImageType]; v != "" && !imageType.MatchString(v) {
		r.bad(meta.ProxyImageType, "%q is not the end of an image tag, write distroless, debug or default", v)
	}
}

func blank(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }

// lenient checks what Istio lets through: mostly what only the agent reads, which leaves
// out what it cannot read. The pod is let through here as well, with a word.
func (r *reader) lenient() {
	if len(r.Pod.Annotations) == 0 {
		return
	}
	_, mistakes := proxystats.Read(r.Pod.Annotations)
	for _, m := range mistakes {
		r.warn(m.Annotation, InvalidAnnotation, "%s; the agent leaves it out", m.Message)
	}
	if v := r.Pod.Annotations[meta.NetBindService]; v != "" && v != "true" && v != "false" {
		r.warn(meta.NetBindService, InvalidAnnotation, "%q is neither true nor false, taken as false", v)
	}
	if v := r.Pod.Annotations[meta.DiscoveryAddress]; v != "" {
		if _, _, err := net.SplitHostPort(v); err != nil {
			r.warn(meta.DiscoveryAddress, InvalidAnnotation, "%q is not HOST:PORT, left out", v)
		}
	}
	if v := r.Pod.Annotations[meta.SecureMetricsPort]; v != "" {
		if n, err := strconv.ParseUint(v, 10, 16); err != nil || n == 0 {
			r.warn(meta.SecureMetricsPort, InvalidAnnotation, "%q is not a port, scrapers will not find the metrics", v)
		}
	}
	if v, ok := r.get(meta.StatsRegexps); ok {
		// Envoy does not start with an expression that it cannot compile. Go's syntax is Envoy's.
		r.badEach(meta.StatsRegexps, words(strings.ReplaceAll(v, "{pod_ip}", "0"), func(word string) error {
			_, err := regexp.Compile(word)
			return err
		}))
	}
}

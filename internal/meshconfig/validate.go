package meshconfig

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	meshv1alpha1 "istio.io/api/mesh/v1alpha1"
)

// imageType is what may follow the dash in an image's tag.
var imageType = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)

// ValidateProxyConfig says what of a complete ProxyConfig no agent or Envoy could run with:
// nil, or an error that joins all mistakes, each with its field. c is not modified.
func ValidateProxyConfig(c *meshv1alpha1.ProxyConfig) error {
	var v validation
	v.port("proxyAdminPort", c.GetProxyAdminPort(), 1)
	v.port("statusPort", c.GetStatusPort(), 0)
	v.number("statNameLength", int64(c.GetStatNameLength()), 0)
	v.number("concurrency", int64(c.GetConcurrency().GetValue()), 0)
	v.text("configPath", c.GetConfigPath())
	v.text("binaryPath", c.GetBinaryPath())
	v.address("discoveryAddress", c.GetDiscoveryAddress())
	if d := c.GetDrainDuration().AsDuration(); d >= 0 && d < time.Second {
		v.mistake("drainDuration", "%s is less than 1s", d)
	}
	if t := c.GetImage().GetImageType(); t != "" && !imageType.MatchString(t) {
		v.mistake("image.imageType", "%q is not the end of an image tag, write distroless, debug or default", t)
	}
	for _, key := range slices.Sorted(maps.Keys(c.GetProxyMetadata())) {
		v.variable("proxyMetadata", key)
	}
	v.services(c)
	v.statistics(c)
	v.tracing(c.GetTracing())
	v.roots(c.GetCaCertificatesPem())
	v.durations("", c.ProtoReflect())
	return errors.Join(v.mistakes...)
}

type validation struct{ mistakes []error }

func (v *validation) mistake(path, format string, args ...any) {
	v.mistakes = append(v.mistakes, fmt.Errorf(path+": "+format, args...))
}

func (v *validation) port(path string, n int32, least int32) {
	if n < least || n > 65535 {
		v.mistake(path, "%d is not a port, write a number from %d to 65535", n, least)
	}
}

func (v *validation) number(path string, n, least int64) {
	if n < least {
		v.mistake(path, "%d is less than %d", n, least)
	}
}

func (v *validation) text(path, s string) {
	if s == "" {
		v.mistake(path, "is empty, leave it out for the default")
	}
}

// address wants host:port.
func (v *validation) address(path, s string) {
	host, port, err := net.SplitHostPort(s)
	n, numeric := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || numeric != nil || n == 0 || strings.ContainsAny(host, " \t\n/") {
		v.mistake(path, "%q is not HOST:PORT", s)
	}
}

func (v *validation) variable(path, name string) {
	if name == "" || strings.ContainsAny(name, "=\x00 \t\n") {
		v.mistake(path, "%q is not the name of an environment variable", name)
	}
}

func (v *validation) services(c *meshv1alpha1.ProxyConfig) {
	if s := c.GetStatsdUdpAddress(); s != "" {
		v.address("statsdUdpAddress", s)
	}
	if s := c.GetEnvoyAccessLogService(); s != nil {
		v.address("envoyAccessLogService.address", s.GetAddress())
	}
	if s := c.GetEnvoyMetricsService(); s != nil {
		v.address("envoyMetricsService.address", s.GetAddress())
	}
}

// statistics: Envoy does not start with an expression that it cannot compile. Go's syntax
// is Envoy's.
func (v *validation) statistics(c *meshv1alpha1.ProxyConfig) {
	for i, expression := range c.GetProxyStatsMatcher().GetInclusionRegexps() {
		if _, err := regexp.Compile(expression); err != nil {
			v.mistake(fmt.Sprintf("proxyStatsMatcher.inclusionRegexps[%d]", i), "%v", err)
		}
	}
}

func (v *validation) tracing(t *meshv1alpha1.Tracing) {
	if s := t.GetSampling(); !(s >= 0 && s <= 100) { // not a number is neither
		v.mistake("tracing.sampling", "%v is not a percentage, write a number from 0 to 100", s)
	}
	if z := t.GetZipkin(); z != nil {
		v.address("tracing.zipkin.address", z.GetAddress())
	}
	if l := t.GetLightstep(); l != nil {
		v.address("tracing.lightstep.address", l.GetAddress())
	}
	if d := t.GetDatadog(); d != nil {
		v.address("tracing.datadog.address", d.GetAddress())
	}
}

// roots: an agent that cannot read one of them trusts none.
func (v *validation) roots(list []string) {
	for i, text := range list {
		block, rest := pem.Decode([]byte(text))
		if block == nil {
			v.mistake(fmt.Sprintf("caCertificatesPem[%d]", i), "is not a PEM block")
		}
		for ; block != nil; block, rest = pem.Decode(rest) {
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				v.mistake(fmt.Sprintf("caCertificatesPem[%d]", i), "%v", err)
			}
		}
	}
}

// durations reports negative ones, wherever they are: nothing waits for less than nothing.
func (v *validation) durations(path string, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Message() == nil || fd.IsMap() || fd.IsList() || !m.Has(fd) {
			continue
		}
		at := join(path, fd.JSONName())
		sub := m.Get(fd).Message()
		if d, ok := sub.Interface().(*durationpb.Duration); !ok {
			v.durations(at, sub)
		} else if d.AsDuration() < 0 {
			v.mistake(at, "%s is negative", d.AsDuration())
		}
	}
}

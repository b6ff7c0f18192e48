// Package accesslog builds the access loggers of listeners and filters. It is pure.
package accesslog

import (
	"github.com/sluicemesh/sluice/xds/ir"
)

// Config says where and how connections and requests are logged. It is comparable.
type Config struct {
	File   string // empty: no log
	Format string // empty: Istio's default; a JSON object of operators if JSON
	JSON   bool
}

// Of picks the configuration from the mesh settings.
func Of(m ir.Mesh) Config {
	return Config{File: m.AccessLogFile, Format: m.AccessLogFormat, JSON: m.AccessLogJSON}
}

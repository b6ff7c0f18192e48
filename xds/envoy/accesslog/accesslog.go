// Package accesslog builds the access loggers of listeners and filters. It is pure.
package accesslog

import (
	"encoding/json"
	"fmt"
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/sluicemesh/sluice/xds/envoy/pack"
	"github.com/sluicemesh/sluice/xds/ir"
)

const fileLogger = "envoy.access_loggers.file"

// defaultText is the line that Istio's users parse. Source: Istio's default log format.
const defaultText = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ` +
	`%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% ` +
	`%DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" ` +
	`"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% ` +
	`%DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%` + "\n"

// defaultJSON are the keys of the default JSON line.
func defaultJSON() map[string]any {
	return map[string]any{
		"start_time": "%START_TIME%", "route_name": "%ROUTE_NAME%", "method": "%REQ(:METHOD)%",
		"path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "protocol": "%PROTOCOL%",
		"response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%",
		"response_code_details":          "%RESPONSE_CODE_DETAILS%",
		"connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
		"bytes_received":                 "%BYTES_RECEIVED%", "bytes_sent": "%BYTES_SENT%", "duration": "%DURATION%",
		"upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
		"x_forwarded_for":       "%REQ(X-FORWARDED-FOR)%", "user_agent": "%REQ(USER-AGENT)%",
		"request_id": "%REQ(X-REQUEST-ID)%", "authority": "%REQ(:AUTHORITY)%",
		"upstream_host": "%UPSTREAM_HOST%", "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
		"upstream_local_address":            "%UPSTREAM_LOCAL_ADDRESS%",
		"downstream_local_address":          "%DOWNSTREAM_LOCAL_ADDRESS%",
		"downstream_remote_address":         "%DOWNSTREAM_REMOTE_ADDRESS%",
		"requested_server_name":             "%REQUESTED_SERVER_NAME%",
		"upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
	}
}

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

// Check returns an error that quotes the format when it cannot be used: with JSON, a
// format that is not a JSON object. The builders fall back to the default format then.
func (c Config) Check() error {
	if !c.JSON || c.Format == "" {
		return nil
	}
	_, err := c.object()
	return err
}

func (c Config) object() (*structpb.Struct, error) {
	if c.Format == "" {
		return structpb.NewStruct(defaultJSON())
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(c.Format), &fields); err != nil {
		return nil, fmt.Errorf("access log format %q is not a JSON object: %w", c.Format, err)
	}
	object, err := structpb.NewStruct(fields)
	if err != nil {
		return nil, fmt.Errorf("access log format %q: %w", c.Format, err)
	}
	return object, nil
}

// Requests returns the loggers of an HTTP connection manager or a TCP proxy, nil for none.
func Requests(c Config) []*accesslogv3.AccessLog {
	if c.File == "" {
		return nil
	}
	log := &filev3.FileAccessLog{
		Path:            c.File,
		AccessLogFormat: &filev3.FileAccessLog_LogFormat{LogFormat: c.format()},
	}
	return []*accesslogv3.AccessLog{{
		Name:       fileLogger,
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack.Any(log)},
	}}
}

// Unmatched returns the loggers of a listener: they log connections that no filter chain
// took (flag NR), which no other logger sees.
func Unmatched(c Config) []*accesslogv3.AccessLog {
	logs := Requests(c)
	for _, l := range logs {
		l.Filter = &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
			ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: []string{"NR"}},
		}}
	}
	return logs
}

func (c Config) format() *corev3.SubstitutionFormatString {
	if c.JSON {
		object, err := c.object()
		if err != nil { // reported by Check
			object, _ = Config{JSON: true}.object()
		}
		return &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: object},
		}
	}
	text := c.Format
	if text == "" {
		text = defaultText
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return &corev3.SubstitutionFormatString{
		Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
			Specifier: &corev3.DataSource_InlineString{InlineString: text},
		}},
	}
}

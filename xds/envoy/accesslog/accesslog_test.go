package accesslog

import (
	"strings"
	"testing"

	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"

	"github.com/sluicemesh/sluice/xds/ir"
)

func file(t *testing.T, c Config) *filev3.FileAccessLog {
	t.Helper()
	logs := Requests(c)
	if len(logs) != 1 {
		t.Fatalf("Requests(%+v) = %d loggers, want 1", c, len(logs))
	}
	f := &filev3.FileAccessLog{}
	if err := logs[0].GetTypedConfig().UnmarshalTo(f); err != nil {
		t.Fatal(err)
	}
	return f
}

// Users' log pipelines parse this line.
func TestDefaultText(t *testing.T) {
	const want = `[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%` + "\n"
	f := file(t, Of(ir.Mesh{AccessLogFile: "/dev/stdout"}))
	if got := f.GetLogFormat().GetTextFormatSource().GetInlineString(); got != want {
		t.Errorf("default format:\n got %q\nwant %q", got, want)
	}
	if f.Path != "/dev/stdout" {
		t.Errorf("path %q", f.Path)
	}
}

func TestFormats(t *testing.T) {
	if logs := Requests(Config{}); logs != nil {
		t.Errorf("loggers without a file: %v", logs)
	}
	if got := file(t, Config{File: "f", Format: "%PROTOCOL%"}).GetLogFormat().GetTextFormatSource().GetInlineString(); got != "%PROTOCOL%\n" {
		t.Errorf("a line without an end is written as %q", got)
	}
	own := file(t, Config{File: "f", JSON: true, Format: `{"p": "%PROTOCOL%", "more": {"n": 1}}`}).GetLogFormat().GetJsonFormat().AsMap()
	if own["p"] != "%PROTOCOL%" || len(own) != 2 {
		t.Errorf("own JSON format: %v", own)
	}
	fallback := file(t, Config{File: "f", JSON: true, Format: "[%PROTOCOL%]"}).GetLogFormat().GetJsonFormat().AsMap()
	if len(fallback) != 24 || fallback["upstream_cluster"] != "%UPSTREAM_CLUSTER_RAW%" {
		t.Errorf("default JSON format: %v", fallback)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []Config{{}, {Format: "[x"}, {JSON: true}, {JSON: true, Format: `{"a": "b"}`}} {
		if err := c.Check(); err != nil {
			t.Errorf("Check(%+v) = %v", c, err)
		}
	}
	for _, c := range []Config{{JSON: true, Format: "[%START_TIME%]"}, {JSON: true, Format: `["a"]`}} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), "is not a JSON object") {
			t.Errorf("Check(%+v) = %v", c, err)
		}
	}
}

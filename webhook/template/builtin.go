package template

import _ "embed"

// The templates that come with the mesh. sidecar and gateway are not among them: package
// render writes those without a template.
var (
	//go:embed builtin/spire.yaml
	spire string
	//go:embed builtin/grpc-agent.yaml
	grpcAgent string
	//go:embed builtin/grpc-simple.yaml
	grpcSimple string
)

// builtin returns a new map of the built-in templates by name.
func builtin() map[string]string {
	return map[string]string{"spire": spire, "grpc-agent": grpcAgent, "grpc-simple": grpcSimple}
}

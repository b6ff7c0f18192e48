// Package samples holds the manifests of the sample applications: what the walk-through, the
// demonstration and the scenarios apply to a cluster. The applications themselves are the main
// packages below it. It only carries the files; it neither parses nor applies them.
package samples

import "embed"

// Manifests holds each folder's YAML files, for example "httpbin/httpbin.yaml". Namespaced
// objects without a namespace go to the one that the user chooses.
//
//go:embed */*.yaml
var Manifests embed.FS

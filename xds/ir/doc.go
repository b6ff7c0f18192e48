// Package ir is the mesh as plain values: what the user's objects say, free of the words
// of any API and of Envoy.
//
// Values are never modified after they were made. Each carries the Origin of the object it
// came from. The package imports no Kubernetes, Istio or Envoy type and does no work
// beyond small questions that a value can answer about itself.
package ir

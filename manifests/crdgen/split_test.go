package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestClean fails when the committed definitions are not what the pinned module gives.
func TestClean(t *testing.T) {
	source, version, err := pinned()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	want, err := split(data, version)
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("../charts/base/files/crds/*")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, name := range names {
		base := filepath.Base(name)
		got[base] = true
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want[base]), string(text)); diff != "" {
			t.Errorf("%s is not what go run ./manifests/crdgen writes (-want +got):\n%s", base, diff)
		}
	}
	for base := range want {
		if !got[base] {
			t.Errorf("%s is missing: go run ./manifests/crdgen", base)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	for name, doc := range map[string]string{
		"nothing":       "\n---\n",
		"another kind":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
		"unknown field": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\nspec: {colour: red}\n",
		"no name":       "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n",
	} {
		t.Run(name, func(t *testing.T) {
			if files, err := split([]byte(doc), "v1"); err == nil {
				t.Errorf("split accepted it as %d files; want an error", len(files))
			}
		})
	}
}

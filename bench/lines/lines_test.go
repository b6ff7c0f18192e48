package lines

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestOf(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	got, err := Of(fstest.MapFS{
		"agent/run.go":            file("package agent\n\n// Run runs.\nfunc Run() {}\n"),
		"agent/run_test.go":       file("package agent\n \t\nvar x = 1"),
		"agent/deep/er.go":        file("package er\n"),
		"agent/testdata/gen.go":   file("package gen\n"),
		"agent/README.md":         file("text\n"),
		"xds/xds.go":              file("package xds\n"),
		"a.go":                    file("package top\n"),
		"top.go":                  file("package top\nvar y = 2\n"),
		".ci/tool.go":             file("package tool\n"),
		"bin/sluice":              file("binary\n"),
		"xds/names/names_test.go": file("package names\n\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []Count{{".", 3, 0}, {"agent", 4, 2}, {"xds", 1, 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Of (-want +got):\n%s", diff)
	}
}

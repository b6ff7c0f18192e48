// Package lines counts lines of Go per top-level folder of a tree.
//
// It reads a file system and returns counts. Comments count, blank lines do not; folders
// whose names begin with a dot, and testdata, are left out.
package lines

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Count is the lines of one top-level folder; "." are files of the root itself.
type Count struct {
	Folder string
	Code   int // lines that are not blank, outside _test.go
	Test   int // the same in _test.go
}

// Of counts each folder of a tree, in the order of their names.
func Of(tree fs.FS) ([]Count, error) {
	at := map[string]*Count{}
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		folder, _, below := strings.Cut(name, "/")
		if !below {
			folder = "."
		}
		c := at[folder]
		if c == nil {
			c = &Count{Folder: folder}
			at[folder] = c
		}
		if strings.HasSuffix(name, "_test.go") {
			c.Test += filled(text)
		} else {
			c.Code += filled(text)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count lines: %w", err)
	}
	counts := make([]Count, 0, len(at))
	for _, folder := range slices.Sorted(maps.Keys(at)) {
		counts = append(counts, *at[folder])
	}
	return counts, nil
}

// filled is the number of lines that are not blank.
func filled(text []byte) int {
	n := 0
	for l := range bytes.Lines(text) {
		if len(bytes.TrimSpace(l)) > 0 {
			n++
		}
	}
	return n
}

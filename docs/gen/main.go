// Command gen writes the reference pages: go run ./docs/gen, in the module's directory.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sluicemesh/sluice/docs/gen/page"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	pages, err := page.All(ctx, os.DirFS("."))
	if err != nil {
		return err
	}
	for _, p := range pages {
		if err := os.WriteFile(filepath.Join("docs", "reference", p.File), p.Text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

package settings

import (
	"fmt"

	"github.com/sluicemesh/sluice/internal/suggest"
)

// suggestion returns `; did you mean "x"?` for the known name nearest to name, nothing
// when none is near enough for a slip of the pen.
func suggestion(name string, known []string) string {
	best := suggest.Nearest(name, known, len(name)/2+1)
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

package intercept

import (
	"fmt"
	"io"

	"github.com/sluicemesh/sluice/cli/terminal"
	"github.com/sluicemesh/sluice/cli/workload"
)

// title is the verdict, above what sluice-init says.
func (a answer) title(out io.Writer, p terminal.Paint, ref workload.Ref, q question) {
	name := "Pod " + ref.Namespace + "/" + ref.Name
	verdict := p.Bad("? could not be checked")
	switch {
	case a.code == 0 && q.verb == "verify":
		verdict = p.Good("✔ exactly what is wanted is captured")
	case a.code == codeDiffers && q.verb == "verify":
		verdict = p.Bad("✘ packets go other ways than they should")
	case a.code == 0:
		verdict = p.Good("✔ the packet goes the way it should")
	case a.code == codeDiffers:
		verdict = p.Bad("✘ the packet goes another way than it should")
	}
	fmt.Fprintf(out, "%s: %s %s\n", p.Title(name), verdict, p.Quiet("("+a.by+")"))
}

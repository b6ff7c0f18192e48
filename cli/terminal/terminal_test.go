package terminal

import (
	"bytes"
	"testing"
)

// TestPlain writes to what is no terminal: a line for each change.
func TestPlain(t *testing.T) {
	var out bytes.Buffer
	p := New(&out)
	s := p.Start("Installing Istiod")
	s.Update("0 of 1 pods ready")
	s.Update("0 of 1 pods ready")
	s.At("ConfigMap a")
	s.Update("pod a: ErrImagePull")
	s.Done("Istiod installed")
	p.Start("Removing").Fail("Removal failed")
	want := `- Installing Istiod
- Installing Istiod: 0 of 1 pods ready
- Installing Istiod: pod a: ErrImagePull
✔ Istiod installed
- Removing
✘ Removal failed
`
	if got := out.String(); got != want {
		t.Errorf("output =\n%s\nwant\n%s", got, want)
	}
}

// TestInteractive redraws one line, which the end replaces.
func TestInteractive(t *testing.T) {
	var out bytes.Buffer
	p := &Printer{out: &out, interactive: true}
	s := p.Start("Installing")
	s.Update("a")
	s.At("a")
	s.Done("Installed")
	want := "\r\x1b[K⠋ Installing\r\x1b[K⠙ Installing: a\r\x1b[K⠹ Installing: a\r\x1b[K✔ Installed\n"
	if got := out.String(); got != want {
		t.Errorf("output = %q; want %q", got, want)
	}
}

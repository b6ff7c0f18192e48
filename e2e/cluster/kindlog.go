package cluster

import (
	"fmt"
	"strings"

	"sigs.k8s.io/kind/pkg/log"

	"github.com/sluicemesh/sluice/e2e/cluster/progress"
)

// kindLog passes what kind tells its users on to ours; what it tells its developers is dropped.
type kindLog struct{ out *progress.Printer }

func (l kindLog) Warn(message string)               { l.out.Say("    kind: %s", message) }
func (l kindLog) Warnf(format string, args ...any)  { l.Warn(fmt.Sprintf(format, args...)) }
func (l kindLog) Error(message string)              { l.Warn(message) }
func (l kindLog) Errorf(format string, args ...any) { l.Warn(fmt.Sprintf(format, args...)) }

func (l kindLog) V(level log.Level) log.InfoLogger {
	if level > 0 {
		return log.NoopInfoLogger{}
	}
	return kindInfo(l)
}

type kindInfo struct{ out *progress.Printer }

func (l kindInfo) Enabled() bool                    { return true }
func (l kindInfo) Info(message string)              { l.out.Say("    kind: %s", strings.TrimSpace(message)) }
func (l kindInfo) Infof(format string, args ...any) { l.Info(fmt.Sprintf(format, args...)) }

package capability

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// OfHost lists what this process, and with it every container it may start, cannot have. It reads /proc; where there is none
// (not Linux) the answer is empty: containers then live in a virtual machine of their own.
func OfHost() ([]string, error) {
	status, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read process status: %w", err)
	}
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return nil, fmt.Errorf("read the kernel's last capability: %w", err)
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("parse the kernel's last capability: %w", err)
	}
	return Missing(status, last)
}

// Package capability finds the Linux capabilities a host lacks and takes them out of OCI runtime documents.
//
// A container engine asks for every capability when a container is privileged; where the host itself does not have one
// (nested and restricted machines), the kernel refuses and no node can start. It must not add a capability nor touch any other
// field. The text of /proc/self/status and of runtime documents come in, names and changed documents go out.
package capability

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// names are the capabilities by bit number.
//
// Source: linux/capability.h.
func names() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
		"CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
		"CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
		"CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
		"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
		"CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
	}
}

// Missing lists the capabilities outside the bounding set, in bit order. status has the form of /proc/self/status; last is the
// highest bit the kernel knows (/proc/sys/kernel/cap_last_cap), so that an older kernel is not said to lack newer ones.
func Missing(status []byte, last int) ([]string, error) {
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		hex, found := strings.CutPrefix(lines.Text(), "CapBnd:")
		if !found {
			continue
		}
		bounding, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		if err != nil {
			return nil, fmt.Errorf("parse bounding set: %w", err)
		}
		var missing []string
		for bit, name := range names() {
			if bit <= last && bounding&(1<<bit) == 0 {
				missing = append(missing, name)
			}
		}
		return missing, nil
	}
	return nil, fmt.Errorf("no CapBnd line in process status")
}

// StripBundle removes the given capabilities from a runtime bundle's config.json (its process).
func StripBundle(config []byte, missing []string) ([]byte, error) {
	return strip(config, missing, "process")
}

// StripProcess removes the given capabilities from a process document, as a runtime's exec takes it.
func StripProcess(process []byte, missing []string) ([]byte, error) {
	return strip(process, missing)
}

func strip(doc []byte, missing []string, path ...string) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(doc))
	decoder.UseNumber() // limits such as 2^63-1 must survive the round trip
	var root map[string]any
	if err := decoder.Decode(&root); err != nil {
		return nil, fmt.Errorf("decode runtime document: %w", err)
	}
	at := root
	for _, field := range append(path, "capabilities") {
		next, ok := at[field].(map[string]any)
		if !ok {
			return doc, nil // asks for no capability
		}
		at = next
	}
	for set, value := range at {
		wanted, ok := value.([]any)
		if !ok {
			continue
		}
		at[set] = slices.DeleteFunc(wanted, func(name any) bool {
			text, ok := name.(string)
			return ok && slices.Contains(missing, text)
		})
	}
	stripped, err := json.Marshal(root)
	if err != nil {
		return nil, fmt.Errorf("encode runtime document: %w", err)
	}
	return stripped, nil
}

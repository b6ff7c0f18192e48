package xtables

import (
	"strings"
	"testing"
)

func TestAdvice(t *testing.T) {
	tests := []struct{ said, want string }{
		{"iptables-restore v1.8.9 (legacy): can't initialize iptables table `nat': Permission denied (you must be root)", "capabilities NET_ADMIN and NET_RAW"},
		{"iptables-restore v1.8.9 (legacy): can't initialize iptables table `mangle': Table does not exist (do you need to insmod?)", "module iptable_mangle"},
		{"Warning: Extension REDIRECT revision 0 not supported, missing kernel module?\niptables-nft-restore: line 21 failed", "module xt_REDIRECT"},
		{"Another app is currently holding the xtables lock; still 9s 0us time ahead to have a chance to grab the lock...", "look for one that hangs"},
		{"Fatal: can't open lock file /run/xtables.lock: Read-only file system", "emptyDir at /run"},
		{"made to fail", ""},
	}
	for _, tt := range tests {
		if got := advice(tt.said); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("advice(%q) = %q; want %q in it", tt.said, got, tt.want)
		}
	}
}

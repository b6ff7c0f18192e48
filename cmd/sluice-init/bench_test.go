package main

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicemesh/sluice/initcontainer/netlab"
)

// backends are the flags that choose each.
var backends = map[string]string{
	"iptables-nft":    "--force-iptables-binary=nft",
	"iptables-legacy": "--force-iptables-binary=legacy",
	"nftables":        "--native-nftables",
}

const defaultPod = "-i * -b * -d 15090,15021,15020"

// BenchmarkRun measures from the start of the program to its end, rules verified, in a
// fresh namespace, for each backend, with both families and with IPv4 alone.
func BenchmarkRun(b *testing.B) {
	program := build(b)
	for name, flag := range backends {
		for families, dual := range map[string]bool{"IPv4": false, "both": true} {
			b.Run(name+"/"+families, func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					lab := netlab.New(b, dual)
					if !dual {
						lab.DisableIPv6(b)
					}
					b.StartTimer()
					measure(b, lab, program, flag+" "+defaultPod)
				}
			})
		}
	}
}

// BenchmarkRunAgain is a run that finds everything as it should be.
func BenchmarkRunAgain(b *testing.B) {
	program := build(b)
	for name, flag := range backends {
		b.Run(name, func(b *testing.B) {
			lab := netlab.New(b, true)
			measure(b, lab, program, flag+" "+defaultPod)
			for b.Loop() {
				measure(b, lab, program, flag+" "+defaultPod)
			}
		})
	}
}

// BenchmarkStart is the program doing nothing.
func BenchmarkStart(b *testing.B) {
	program := build(b)
	lab := netlab.New(b, true)
	for b.Loop() {
		measure(b, lab, program, "--help")
	}
}

func measure(b *testing.B, lab *netlab.Lab, program, line string) {
	b.Helper()
	start := time.Now()
	if got := execute(b, lab, nil, program, strings.Fields(line)...); got.code != 0 {
		b.Fatalf("exit code %d after %s: %s%s", got.code, time.Since(start), got.stdout, got.stderr)
	}
}

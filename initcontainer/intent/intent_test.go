package intent_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sluicemesh/sluice/internal/capture"

	"github.com/sluicemesh/sluice/initcontainer/intent"
	"github.com/sluicemesh/sluice/initcontainer/packet"
	"github.com/sluicemesh/sluice/initcontainer/rule"
)

// The columns of the matrix: what was seen in the kernel under Istio's rules, but for the
// corrections that the documentation lists.
func columns(t *testing.T) []capture.Config {
	t.Helper()
	dns := parse(t, "-i * -b * -d 15090,15021,15020")
	dns.RedirectDNS, dns.CaptureAllDNS = true, true
	return []capture.Config{
		parse(t, "-i * -b * -d 15090,15021,15020"),
		dns,
		parse(t, "-i 127.0.0.5/32,8.8.8.8/32 -o 53 -b * -d 15090,15021,15020"),
		parse(t, "-i  -q 80 -b 8080 -d 15090,15021,15020"),
		parse(t, "-m TPROXY -i * -b * -d 15090,15021,15020"),
	}
}

func parse(t *testing.T, line string) capture.Config {
	t.Helper()
	c, _, err := capture.Parse(strings.Split(line, " "), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	podIP  = "10.244.0.5"
	remote = "8.8.8.8"
)

func sent(uid, gid uint32, source, to string) packet.Packet {
	at := netip.MustParseAddrPort(to)
	p := packet.Packet{
		Out: "eth0", Protocol: packet.TCP, Source: netip.MustParseAddr(source), SourcePort: 40000,
		Destination: at.Addr(), DestPort: at.Port(), UID: uid, GID: gid,
	}
	if at.Addr().IsLoopback() || to == podIP+":8080" || to == podIP+":15008" {
		p.Out = packet.Lo
	}
	return p
}

func arrived(port uint16) packet.Packet {
	return packet.Packet{
		In: "eth0", Protocol: packet.TCP, Source: netip.MustParseAddr("10.244.0.9"), SourcePort: 40000,
		Destination: netip.MustParseAddr(podIP), DestPort: port, UID: packet.Nobody, GID: packet.Nobody,
	}
}

func TestMatrix(t *testing.T) {
	rows := []struct {
		name   string
		packet packet.Packet
		want   string // by column; "-" is left alone
	}{
		{"app to remote", sent(1000, 1000, podIP, remote+":80"), "15001 15001 15001 15001 15001"},
		{"app to own pod", sent(1000, 1000, podIP, podIP+":8080"), "- - - - -"},
		{"app to localhost", sent(1000, 1000, podIP, "127.0.0.1:8080"), "- - - - -"},
		{"app to other loopback", sent(1000, 1000, podIP, "127.0.0.5:8080"), "- - 15001 - -"},
		{"app to remote DNS", sent(1000, 1000, podIP, remote+":53"), "15001 15053 - - 15001"},
		{"app to local DNS", sent(1000, 1000, podIP, "127.0.0.53:53"), "- 15053 - - -"},
		{"proxy to remote", sent(1337, 1337, podIP, remote+":80"), "- - - - -"},
		{"proxy to own pod", sent(1337, 1337, podIP, podIP+":8080"), "15006 15006 15006 15006 d15006"},
		{"proxy by its source", sent(1337, 1337, "127.0.0.6", podIP+":8080"), "- - - - -"},
		{"proxy to localhost", sent(1337, 1337, podIP, "127.0.0.1:8080"), "- - - - -"},
		{"proxy to other loopback", sent(1337, 1337, podIP, "127.0.0.5:8080"), "15006 15006 15006 15006 d15006"},
		{"proxy to its tunnel", sent(1337, 1337, podIP, podIP+":15008"), "- - - - -"}, // Istio: 15006 with TPROXY
		{"group alone to remote", sent(0, 1337, podIP, remote+":80"), "- - - - -"},
		{"group alone to own pod", sent(0, 1337, podIP, podIP+":8080"), "15006 15006 15006 15006 d15006"}, // Istio: mostly alone
		{"peer to app", arrived(8080), "15006 15006 15006 15006 d15006"},
		{"peer to 22", arrived(22), "15006 15006 15006 - d15006"},
		{"peer to agent", arrived(15020), "- - - - -"},
		{"peer to statistics", arrived(15090), "- - - - -"},
		{"peer to tunnel", arrived(15008), "- - - - -"}, // Istio: 15006 with TPROXY
		{"peer to outbound listener", arrived(15001), "15006 15006 15006 - d15006"},
	}
	words := map[string]packet.Outcome{
		"-":      {},
		"15001":  {Verdict: packet.Redirected, Port: 15001},
		"15006":  {Verdict: packet.Redirected, Port: 15006},
		"15053":  {Verdict: packet.Redirected, Port: 15053},
		"d15006": {Verdict: packet.Diverted, Port: 15006},
	}
	for i, config := range columns(t) {
		for _, row := range rows {
			want := words[strings.Fields(row.want)[i]]
			got := intent.Of(config, rule.IPv4, row.packet)
			if got.Verdict != want.Verdict || got.Port != want.Port || got.Because == "" {
				t.Errorf("column %d, %s: %s (%s), want %s", i, row.name, got, got.Because, want)
			}
		}
	}
}

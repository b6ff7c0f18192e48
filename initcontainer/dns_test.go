package initcontainer_test

// queries is where connections to port 53 go with DNS capture. The pod's resolv.conf lists
// the remote addresses of both families.
func queries() columns {
	const all = "--redirect-dns --capture-all-dns "
	return columns{
		args: []string{
			"-i * -b * " + all,
			"-i * -b * --redirect-dns",
			"-i * -o 53 " + all,
			"-i 127.0.0.5/32,::1/128 --redirect-dns",
			"-m TPROXY -i * -b * " + all,
			"-m TPROXY -i * -b * --redirect-dns",
			"-i * ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=888 " + all,
			"--capture-all-dns REDIRECT_DNS=true",
		},
		conns: []connection{
			{name: "app to a listed server", owner: app, dst: "REMOTE:53", want: "15053 15053 remote 15053 15053 15053 15053 15053"},
			{name: "app to another server", owner: app, dst: "ANOTHER:53", want: "15053 15001 remote remote 15053 15001 15053 15053"},
			{name: "app to a server in its pod", owner: app, dst: "POD:53", want: "15053 15001 53 53 15053 15001 15053 15053"},
			{name: "app to localhost", owner: app, dst: "LOCAL:53", want: "15053 53 53 53 15053 53 15053 15053"},
			{name: "app to another loopback", owner: app, dst: "127.0.0.53:53", want: "15053 15001 53 53 15053 15001 15053 15053", only4: true},
			{name: "app elsewhere", owner: app, dst: "REMOTE:80", want: "15001 15001 15001 remote 15001 15001 15001 remote"},
			{name: "app to its pod elsewhere", owner: app, dst: "POD:8080", want: "8080 8080 8080 8080 8080 8080 8080 8080"},
			{name: "proxy to a listed server", owner: proxy, dst: "REMOTE:53", want: "remote remote remote remote remote remote remote remote"},
			{name: "proxy to a server in its pod", owner: proxy, dst: "POD:53", want: "53 53 53 53 53 53 53 53"},
			{name: "gid to a server in its pod", owner: gidOnly, dst: "POD:53", want: "53 53 53 53 53 53 53 53"},
			{name: "proxy to its pod elsewhere", owner: proxy, dst: "POD:8080", want: "15006 15006 15006 15006 15006 15006 15006 15006"},
			{name: "proxy as 127.0.0.6 to a server in its pod", owner: app, src: "127.0.0.6", dst: "POD:53", want: "53 53 53 53 53 53 53 53", only4: true},
			{name: "member to a listed server", owner: member, dst: "REMOTE:53", want: "15053 15053 remote 15053 15053 15053 remote 15053"},
			{name: "peer to a server in the pod", from: fromPeer, dst: "POD:53", want: "15006 15006 53 53 15006 15006 53 53"},
		},
	}
}

// datagrams is where UDP goes: nowhere but to the agent, and only queries. That an answer
// arrives also tells that the zones of connection tracking fit.
func datagrams() columns {
	const all = "--redirect-dns --capture-all-dns "
	return columns{
		args: []string{
			"-i * -b * -d 15090,15021,15020",
			"-i * -b * " + all,
			"-i * -b * --redirect-dns",
			"-i * -o 53 " + all,
			"-m TPROXY -i * -b * --redirect-dns",
			"-i * -k net1 ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE=888 " + all,
		},
		conns: []connection{
			{udp: true, name: "app to a listed server", owner: app, dst: "REMOTE:53", want: "remote 15053 15053 remote 15053 15053"},
			{udp: true, name: "app to another server", owner: app, dst: "ANOTHER:53", want: "remote 15053 remote remote remote 15053"},
			{udp: true, name: "app to a server in its pod", owner: app, dst: "POD:53", want: "53 15053 53 53 53 15053"},
			{udp: true, name: "app to localhost", owner: app, dst: "LOCAL:53", want: "53 15053 53 53 53 15053"},
			{udp: true, name: "app to another loopback", owner: app, dst: "127.0.0.53:53", want: "53 15053 53 53 53 15053", only4: true},
			{udp: true, name: "app elsewhere", owner: app, dst: "REMOTE:80", want: "remote remote remote remote remote remote"},
			{udp: true, name: "app to its pod elsewhere", owner: app, dst: "POD:8080", want: "8080 8080 8080 8080 8080 8080"},
			{udp: true, name: "proxy to a listed server", owner: proxy, dst: "REMOTE:53", want: "remote remote remote remote remote remote"},
			{udp: true, name: "uid to a server in its pod", owner: uidOnly, dst: "POD:53", want: "53 53 53 53 53 53"},
			{udp: true, name: "gid to localhost", owner: gidOnly, dst: "LOCAL:53", want: "53 53 53 53 53 53"},
			{udp: true, name: "proxy to its pod elsewhere", owner: proxy, dst: "POD:8080", want: "8080 8080 8080 8080 8080 8080"},
			{udp: true, name: "member to a listed server", owner: member, dst: "REMOTE:53", want: "remote 15053 15053 remote 15053 remote"},
			{udp: true, name: "peer to a server in the pod", from: fromPeer, dst: "POD:53", want: "53 53 53 53 53 53"},
			{udp: true, name: "peer to app", from: fromPeer, dst: "POD:8080", want: "8080 8080 8080 8080 8080 8080"},
			{udp: true, name: "guest to a server", from: fromGuest, dst: "REMOTE:53", want: "remote remote remote remote remote remote"},
		},
	}
}

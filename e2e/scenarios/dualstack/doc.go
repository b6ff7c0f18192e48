// Package dualstack plays one scenario on a cluster of two nodes and both IP families: what
// crosses nodes is captured, secured and balanced alike over IPv4 and IPv6. It has no code
// of its own beside the tests.
package dualstack

// Package apply holds what interception needs besides rules: the routing of marked packets
// and the proxy's address on lo, both written over netlink. Its sub-packages are the
// backends that put rule sets into the kernel.
//
// It neither decides what is right nor checks that it came to be.
package apply

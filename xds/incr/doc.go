// Package incr computes collections from collections and, when an input changes, computes
// again only what the change reaches.
//
// A Graph advances in turns. Edits of an Input wait for the next Turn, which runs the
// nodes in the order of their creation; a node looks at nothing but the keys that an
// earlier node marked. A transform that yields equal outputs stops there. All
// collections advance together, so that nobody sees two states mixed.
//
// The transforms given to FlatMap must be pure: their result may depend on the key, the
// value and what they read through Ctx, and on nothing else. The package knows nothing of
// meshes, starts no goroutine, takes no lock and reads no clock; a Graph has one user at a
// time.
package incr

// Package scenarios plays the walk-through on a real cluster: what a user types, and what
// must happen. Its tests need a cluster; e2e/stage brings one up or, with CLUSTER=current,
// uses the one at hand. It has no code of its own beside the tests.
package scenarios

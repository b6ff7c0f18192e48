// Package compile turns objects into what each class of proxies gets. It binds the other
// packages and decides nothing by itself: arrows only.
//
//	objects ─ convert ─ hosts ──────────┬─ pairs(scope, host) ─ wants ─┐
//	              └ endpoints ─ peers ──┘         └ claims ─ listeners ┼─ distinct ─ built ─ bundles ─ updates
//	classes ─ scopes ───────────────────────────────────── own ports ──┘
//
// A want says that an owner (a scope or a class) has a resource of some name, made by a
// recipe. A recipe is a comparable value that holds everything the resource depends on:
// two wants with equal recipes share one resource, built once. Recipes hold pointers into
// the IR, whose values are never modified, so that a changed object makes another recipe.
//
// The package is pure; a Graph has one user at a time.
package compile

// Package version holds the version that a program was built as.
package version

// Version is set by the linker (-X); builds without it call themselves dev.
var Version = "dev"

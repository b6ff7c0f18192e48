package page

import (
	"strings"

	"github.com/sluicemesh/sluice/internal/capture"
)

// optionsPage lists the settings of the init container from the table that reads them.
func optionsPage() []byte {
	d := begin("Options of interception", "internal/capture",
		"What `sluice-init` reads, under the names of Istio's init container. A flag beats the variables of the environment, of\n"+
			"which the first that is set counts, and these beat the built-in value. The injector writes the flags; a pod's author sets the\n"+
			"variables with `proxyMetadata` of the annotation `proxy.istio.io/config`. Lists are separated by commas; blanks and empty\n"+
			"words do not matter.\n\n"+
			"A value that cannot be read is an error that names the option, in a variable too (Istio takes the built-in value there); all\n"+
			"mistakes are told at once. The exit code is 1 for settings and rules that cannot be, 126 for rules that are not in force.\n"+
			"How to use them: [Interception](../interception.md).")
	topic := ""
	for _, s := range capture.Settings() {
		if s.Topic != topic {
			topic = s.Topic
			d.head(topic, "flag", "short", "variable", "default", "meaning", "otherwise than in Istio")
		}
		flag, short := "", ""
		if s.Name != "" {
			flag = code("--" + s.Name)
		}
		if s.Short != "" {
			short = code("-" + s.Short)
		}
		var variables []string
		for _, name := range s.Env {
			variables = append(variables, code(name))
		}
		d.row(flag, short, strings.Join(variables, ", "), code(s.Default), s.Help, s.Difference)
	}
	return d.bytes()
}

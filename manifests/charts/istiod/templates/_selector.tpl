{{/* selector translates a LabelSelector into CEL over variables.labels. What the API server
would not accept as a selector is refused here. */}}
{{- define "istiod.selectorCEL" -}}
{{- $terms := list }}
{{- range $key, $value := .matchLabels }}
{{- $key = include "istiod.celString" $key }}
{{- $terms = append $terms (printf "(%s in variables.labels && variables.labels[%s] == %s)" $key $key (include "istiod.celString" (toString $value))) }}
{{- end }}
{{- range .matchExpressions }}
{{- $key := include "istiod.celString" .key }}
{{- $values := list }}
{{- range .values }}
{{- $values = append $values (include "istiod.celString" (toString .)) }}
{{- end }}
{{- $in := printf "(%s in variables.labels && variables.labels[%s] in [%s])" $key $key (join ", " $values) }}
{{- if eq .operator "In" }}
{{- $terms = append $terms $in }}
{{- else if eq .operator "NotIn" }}
{{- $terms = append $terms (print "!" $in) }}
{{- else if eq .operator "Exists" }}
{{- $terms = append $terms (printf "(%s in variables.labels)" $key) }}
{{- else if eq .operator "DoesNotExist" }}
{{- $terms = append $terms (printf "!(%s in variables.labels)" $key) }}
{{- else }}
{{- fail (printf "neverInjectSelector, alwaysInjectSelector: operator %q is none of In, NotIn, Exists, DoesNotExist" .operator) }}
{{- end }}
{{- end }}
{{- join " && " $terms }}
{{- end }}

{{/* selectorsCEL is true when any of a list of LabelSelectors matches; empty ones match nothing. */}}
{{- define "istiod.selectorsCEL" -}}
{{- $terms := list }}
{{- range . }}
{{- with include "istiod.selectorCEL" . }}
{{- $terms = append $terms (printf "(%s)" .) }}
{{- end }}
{{- end }}
{{- join " || " $terms | default "false" }}
{{- end }}

{{/* celString is a string literal of CEL. Labels have no characters to escape; whatever else is
written is escaped all the same. */}}
{{- define "istiod.celString" -}}
{{- . | toRawJson }}
{{- end }}

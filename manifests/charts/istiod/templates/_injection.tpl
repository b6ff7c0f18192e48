{{/* entries lists who is injected, as YAML: one item for each webhook entry, with its prefix and
its two selectors. They are Istio's. rev is the revision or tag that labels name; the
default one also serves those who name none. The webhook configurations and the guard of
break-glass are made of it, so that they cannot disagree. */}}
{{- define "istiod.entries" -}}
{{- $injection := "istio-injection" }}
{{- $revision := "istio.io/rev" }}
{{- $inject := "sidecar.istio.io/inject" }}
{{- $noInjection := dict "key" $injection "operator" "DoesNotExist" }}
{{- $noRevision := dict "key" $revision "operator" "DoesNotExist" }}
{{- $unlabelled := list $noInjection $noRevision }}
{{- $ofRevision := dict "key" $revision "operator" "In" "values" (list .rev) }}
{{- $notRefused := dict "key" $inject "operator" "NotIn" "values" (list "false") }}
{{- $entries := list
    (dict "prefix" "rev.namespace." "namespace" (list $ofRevision $noInjection) "object" (list $notRefused))
    (dict "prefix" "rev.object." "namespace" $unlabelled "object" (list $notRefused $ofRevision)) }}
{{- if eq .rev "default" }}
{{- $entries = concat $entries (list
    (dict "prefix" "namespace." "namespace" (list (dict "key" $injection "operator" "In" "values" (list "enabled"))) "object" (list $notRefused))
    (dict "prefix" "object." "namespace" $unlabelled "object" (list (dict "key" $inject "operator" "In" "values" (list "true")) $noRevision))) }}
{{- if .root.Values.sidecarInjectorWebhook.enableNamespacesByDefault }}
{{- $named := dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" (include "istiod.systemNamespaces" . | fromYamlArray) }}
{{- $entries = append $entries
    (dict "prefix" "auto." "namespace" (append $unlabelled $named) "object" (list (dict "key" $inject "operator" "DoesNotExist") $noRevision)) }}
{{- end }}
{{- end }}
{{- toYaml $entries }}
{{- end }}

{{/* systemNamespaces are never injected: the cluster needs them to start. */}}
{{- define "istiod.systemNamespaces" -}}
[kube-system, kube-public, kube-node-lease, local-path-storage]
{{- end }}

{{/* conditions keep the API server from asking about pods that are never injected, so that a
webhook that is down cannot be in their way. Each is true for a pod that is asked about.
An expression that fails refuses the pod: fields may be absent, so each is looked for
before it is read. The injector explains them by these names. */}}
{{- define "istiod.conditions" -}}
{{- $system := list }}
{{- range include "istiod.systemNamespaces" . | fromYamlArray }}
{{- $system = append $system (printf "'%s'" .) }}
{{- end -}}
- name: not-host-network
  expression: "!has(object.spec.hostNetwork) || object.spec.hostNetwork != true"
- name: not-system-namespace
  expression: "!(request.namespace in [{{ join ", " $system }}])"
- name: not-control-plane
  expression: >-
    request.namespace != '{{ .Release.Namespace }}' ||
    (has(object.metadata.labels) && 'sidecar.istio.io/inject' in object.metadata.labels &&
    object.metadata.labels['sidecar.istio.io/inject'] == 'true')
- name: not-opted-out
  expression: >-
    (has(object.metadata.labels) && 'sidecar.istio.io/inject' in object.metadata.labels) ||
    !has(object.metadata.annotations) || !('sidecar.istio.io/inject' in object.metadata.annotations) ||
    object.metadata.annotations['sidecar.istio.io/inject'] != 'false'
{{- end }}

{{/* webhooks renders the entries of a webhook configuration. The caBundle is the control plane's
to write: it is not rendered, so that applying this again leaves it alone. */}}
{{- define "istiod.webhooks" -}}
{{- $root := .root }}
{{- $values := .root.Values }}
{{- range include "istiod.entries" . | fromYamlArray }}
- name: {{ .prefix }}sidecar-injector.istio.io
  clientConfig:
    {{- with $values.istiodRemote.injectionURL }}
    url: {{ . | quote }}
    {{- else }}
    service:
      name: {{ include "istiod.name" $root }}
      namespace: {{ $root.Release.Namespace }}
      path: {{ $values.istiodRemote.injectionPath | quote }}
      port: 443
    {{- end }}
    {{- with $values.istiodRemote.injectionCABundle }}
    caBundle: {{ . | quote }}
    {{- end }}
  sideEffects: None
  rules:
    - operations: [CREATE]
      apiGroups: [""]
      apiVersions: [v1]
      resources: [pods]
  failurePolicy: {{ ternary "Ignore" "Fail" $values.sidecarInjectorWebhook.breakGlass.enabled }}
  reinvocationPolicy: {{ $values.sidecarInjectorWebhook.reinvocationPolicy }}
  admissionReviewVersions: [v1]
  namespaceSelector:
    matchExpressions:
      {{- toYaml .namespace | nindent 6 }}
  objectSelector:
    matchExpressions:
      {{- toYaml .object | nindent 6 }}
  matchConditions:
    {{- include "istiod.conditions" $root | nindent 4 }}
{{- end }}
{{- end }}

{{/* tags lists the revision tags of the installation, as YAML. */}}
{{- define "istiod.tags" -}}
{{- $rev := include "istiod.rev" . }}
{{- range .Values.revisionTags }}
{{- if eq (toString .) $rev }}
{{- fail (printf "revisionTags: %q is the revision itself: pods would be sent to the injector twice; remove it" $rev) }}
{{- end }}
{{- end }}
{{- toYaml (uniq .Values.revisionTags) }}
{{- end }}

{{/* webhookLabels of a webhook configuration: the control plane finds its own by istio.io/rev. */}}
{{- define "istiod.webhookLabels" -}}
istio.io/rev: {{ include "istiod.rev" . | quote }}
app: sidecar-injector
operator.istio.io/component: Pilot
release: {{ .Release.Name }}
app.kubernetes.io/name: istiod
app.kubernetes.io/part-of: istio
{{- end }}

{{/* rev is the revision as labels carry it. */}}
{{- define "istiod.rev" -}}
{{ .Values.revision | default "default" }}
{{- end }}

{{/* suffix is what the revision adds to names: nothing for the default revision. */}}
{{- define "istiod.suffix" -}}
{{- if ne (include "istiod.rev" .) "default" }}-{{ .Values.revision }}{{ end }}
{{- end }}

{{/* name is the name of the control plane's Deployment, Service and ServiceAccount. */}}
{{- define "istiod.name" -}}
istiod{{ include "istiod.suffix" . }}
{{- end }}

{{/* clusterName is for objects of cluster scope, which the namespace must tell apart. */}}
{{- define "istiod.clusterName" -}}
{{ include "istiod.name" . }}-clusterrole-{{ .Release.Namespace }}
{{- end }}

{{/* namespaceSuffix tells apart the objects of cluster scope of several namespaces. */}}
{{- define "istiod.namespaceSuffix" -}}
{{ if ne .Release.Namespace "istio-system" }}-{{ .Release.Namespace }}{{ end }}
{{- end }}

{{/* webhookSuffix tells apart the webhook configurations of several namespaces. */}}
{{- define "istiod.webhookSuffix" -}}
{{ include "istiod.suffix" . }}{{ include "istiod.namespaceSuffix" . }}
{{- end }}

{{- define "istiod.labels" -}}
app: istiod
istio.io/rev: {{ include "istiod.rev" . | quote }}
release: {{ .Release.Name }}
app.kubernetes.io/name: istiod
app.kubernetes.io/part-of: istio
{{- end }}

{{/* selector of the Deployment; immutable, so nothing that an upgrade changes. The default
revision leaves out istio.io/rev for the same reason as its names have no suffix. */}}
{{- define "istiod.selector" -}}
app: istiod
{{- if ne (include "istiod.rev" .) "default" }}
istio.io/rev: {{ .Values.revision | quote }}
{{- else }}
istio: pilot
{{- end }}
{{- end }}

{{- define "istiod.tag" -}}
{{ .Values.pilot.tag | default .Values.global.tag | default .Chart.AppVersion }}{{ with .Values.global.variant }}-{{ . }}{{ end }}
{{- end }}

{{- define "istiod.image" -}}
{{- if contains "/" .Values.pilot.image -}}
{{ .Values.pilot.image }}
{{- else -}}
{{ .Values.pilot.hub | default .Values.global.hub }}/{{ .Values.pilot.image }}:{{ include "istiod.tag" . }}
{{- end }}
{{- end }}

{{- define "istiod.clusterID" -}}
{{ .Values.global.multiCluster.clusterName | default "Kubernetes" }}
{{- end }}

{{/* mesh is the mesh configuration: these defaults with meshConfig laid over them. */}}
{{- define "istiod.mesh" -}}
defaultConfig:
  discoveryAddress: {{ include "istiod.name" . }}.{{ .Release.Namespace }}.svc:15012
{{- with .Values.global.meshID }}
  meshId: {{ . }}
{{- end }}
defaultProviders:
  metrics: [prometheus]
enablePrometheusMerge: true
rootNamespace: {{ .Values.global.istioNamespace }}
trustDomain: cluster.local
{{- end }}

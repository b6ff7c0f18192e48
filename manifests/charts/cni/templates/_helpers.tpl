{{- define "cni.labels" -}}
k8s-app: istio-cni-node
release: {{ .Release.Name }}
app.kubernetes.io/name: istio-cni
app.kubernetes.io/part-of: istio
{{- end }}

{{- define "cni.image" -}}
{{- if contains "/" .Values.image -}}
{{ .Values.image }}
{{- else -}}
{{ .Values.hub | default .Values.global.hub }}/{{ .Values.image }}:{{ .Values.tag | default .Values.global.tag | default .Chart.AppVersion }}{{ with .Values.global.variant }}-{{ . }}{{ end }}
{{- end }}
{{- end }}

{{/* config is what the process on each node is told, by variable. */}}
{{- define "cni.config" -}}
{{- if .Values.ambient.enabled }}
{{- fail "ambient.enabled: ambient mode is not supported, leave it at false" }}
{{- end }}
LOG_LEVEL: {{ .Values.logging.level | quote }}
CHAINED_CNI_PLUGIN: {{ .Values.chained | quote }}
CNI_CONF_NAME: {{ .Values.cniConfFileName | quote }}
EXCLUDE_NAMESPACES: {{ join "," .Values.excludeNamespaces | quote }}
NATIVE_NFTABLES: {{ .Values.nativeNftables | quote }}
FORCE_IPTABLES_BINARY: {{ .Values.forceIptablesBinary | quote }}
REPAIR_ENABLED: {{ .Values.repair.enabled | quote }}
REPAIR_REPAIR_PODS: {{ .Values.repair.repairPods | quote }}
REPAIR_LABEL_PODS: {{ .Values.repair.labelPods | quote }}
REPAIR_DELETE_PODS: {{ .Values.repair.deletePods | quote }}
REPAIR_INIT_CONTAINER_NAME: {{ .Values.repair.initContainerName | quote }}
REPAIR_BROKEN_POD_LABEL_KEY: {{ .Values.repair.brokenPodLabelKey | quote }}
REPAIR_BROKEN_POD_LABEL_VALUE: {{ .Values.repair.brokenPodLabelValue | quote }}
UNTAINT_NODE: {{ .Values.taint.enabled | quote }}
{{- end }}

{{- define "spillway-provider.labels" -}}
app.kubernetes.io/part-of: spillway
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{ include "spillway-provider.selector" . }}
{{- end }}

{{- define "spillway-provider.selector" -}}
app.kubernetes.io/name: spillway-provider
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "spillway-provider.bundleSecret" -}}
{{- if and .Values.join.bundle .Values.join.existingSecret }}
{{- fail "join.bundle and join.existingSecret: set one of them" }}
{{- end }}
{{- if not (or .Values.join.bundle .Values.join.existingSecret) }}
{{- fail "join.bundle is empty: take it from `kubectl spillway join-token` on the hub, or name a Secret in join.existingSecret" }}
{{- end }}
{{- .Values.join.existingSecret | default "spillway-join-bundle" }}
{{- end }}

{{/* As the restricted Pod Security profile wants it. */}}
{{- define "spillway-provider.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "spillway-provider.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "spillway.labels" -}}
app.kubernetes.io/part-of: spillway
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{ include "spillway.selector" . }}
{{- end }}

{{- define "spillway.selector" -}}
app.kubernetes.io/name: spillway
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* As the restricted Pod Security profile wants it. */}}
{{- define "spillway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "spillway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "spillway.podEnv" -}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}

{{- define "spillway.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "spillway.check" -}}
{{- if ne .Release.Namespace "spillway-system" }}
{{- fail "install this chart into the namespace spillway-system: agents and kubectl spillway look there" }}
{{- end }}
{{- if not .Values.store.url }}
{{- fail "store.url is empty: give the hub's own bucket, s3://bucket or s3://bucket/prefix" }}
{{- end }}
{{- if not .Values.chain.id }}
{{- fail "chain.id is 0: give the id of the chain that holds the settlement contract" }}
{{- end }}
{{- if not .Values.chain.contract }}
{{- fail "chain.contract is empty: give the address of the settlement contract" }}
{{- end }}
{{- if .Values.settlement.enabled }}
{{- if not .Values.settlement.rpcUrls }}
{{- fail "settlement.rpcUrls is empty: give at least one HTTP endpoint of the chain" }}
{{- end }}
{{- range $name := list "orders" "collector" }}
{{- $its := index $.Values.settlement $name }}
{{- if and $its.keystoreSecret $its.insecureDevKeySecret }}
{{- fail (printf "settlement.%s: keystoreSecret and insecureDevKeySecret exclude each other" $name) }}
{{- end }}
{{- end }}
{{- with .Values.settlement.collector }}
{{- $hasKey := or .keystoreSecret .insecureDevKeySecret }}
{{- if and (eq $.Values.chain.mode "Root") (not $hasKey) }}
{{- fail "settlement.collector: name a Secret in keystoreSecret: in root mode nobody is paid before vouchers are collected" }}
{{- end }}
{{- if and (eq $.Values.chain.mode "Ledger") $hasKey }}
{{- fail "settlement.collector: there is nothing to collect in ledger mode; is chain.mode Root?" }}
{{- end }}
{{- end }}
{{- with .Values.settlement.signer }}
{{- $ways := compact (list .keystoreSecret .insecureDevKeySecret .awsKmsKey .gcpKmsKey) }}
{{- if gt (len $ways) 1 }}
{{- fail "settlement.signer: keystoreSecret, insecureDevKeySecret, awsKmsKey and gcpKmsKey exclude each other" }}
{{- end }}
{{- if not $ways }}
{{- fail "settlement.signer: name a Secret in keystoreSecret, or a key in awsKmsKey or gcpKmsKey (on a development chain: insecureDevKeySecret)" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

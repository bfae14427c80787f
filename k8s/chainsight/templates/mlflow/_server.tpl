{{/* The server's environment, and its arguments. */}}

{{- define "chainsight.mlflow.database" -}}
{{- $secret := include "chainsight.secret.database" . }}
{{- $keys := .Values.postgres.enabled | ternary (dict "uriKey" "uri" "authUriKey" "auth-uri") .Values.mlflow.database.existingSecret }}
- name: MLFLOW_BACKEND_STORE_URI
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ $keys.uriKey }}}}
- name: CHAINSIGHT_MLFLOW_AUTH_URI
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ $keys.authUriKey }}}}
- {name: MLFLOW_DISABLE_TELEMETRY, value: "true"}
{{- end }}

{{- define "chainsight.mlflow.env" -}}
{{- $secret := include "chainsight.secret.auth" . }}
{{- with .Values.mlflow.auth.existingSecret }}
- name: MLFLOW_AUTH_ADMIN_USERNAME
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ .usernameKey }}}}
- name: MLFLOW_AUTH_ADMIN_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ .passwordKey }}}}
- name: MLFLOW_FLASK_SERVER_SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ .sessionKey }}}}
{{- end }}
- {name: MLFLOW_AUTH_CONFIG_PATH, value: /settings/basic_auth.ini}
- {name: MLFLOW_SERVER_ENABLE_JOB_EXECUTION, value: "false"} # its API had no authentication (CVE-2026-0545)
- {name: MLFLOW_ALLOW_PICKLE_DESERIALIZATION, value: "false"}
- name: MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX
  value: {{ include "chainsight.mlflow.sources" . | quote }}
{{- if .Values.mlflow.webhooks }}
- {name: MLFLOW_WEBHOOK_ALLOWED_SCHEMES, value: "http,https"}
- {name: MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS, value: "true"}
- name: MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ .Values.mlflow.auth.existingSecret.webhookKey }}}}
{{- end }}
- name: POD_IP # an allowed host: Prometheus asks the pod, not the service
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
{{- end }}

{{/* What a model version may be made of: aligned models of the store, versions of candidates. \Z, for $ lets a newline pass. */}}
{{- define "chainsight.mlflow.sources" -}}
{{- $root := . }}
{{- $allowed := list (printf "^%s/aligned/[0-9a-f]{64}/attempt-[0-9a-f]{32}/?\\Z" (regexQuoteMeta .Values.store.uri)) }}
{{- range $name, $profile := .Values.profiles }}
{{- if $profile }}
{{- $allowed = append $allowed (printf "^models:/%s/[0-9]+\\Z" (regexQuoteMeta (include "chainsight.candidateModel" (list $root $name)))) }}
{{- end }}
{{- end }}
{{- join "|" (concat $allowed .Values.mlflow.sources) }}
{{- end }}

{{/* Host names that clients use. MLflow compares them with the port: an entry without one does not match name:5000. */}}
{{- define "chainsight.mlflow.hosts" -}}
{{- $name := include "chainsight.name" (list . "mlflow") }}
{{- $hosts := list }}
{{- range list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.%s" $name .Release.Namespace .Values.clusterDomain) }}
{{- $hosts = concat $hosts (list . (print . ":*")) }}
{{- end }}
{{- if .Values.mlflow.ingress.enabled }}
{{- $hosts = concat $hosts (list .Values.mlflow.ingress.host (print .Values.mlflow.ingress.host ":*")) }}
{{- end }}
{{- join "," (concat $hosts (list "127.0.0.1:*" "localhost:*" "$(POD_IP):*") .Values.mlflow.allowedHosts) }}
{{- end }}

{{/* Origins of browsers: MLflow does not know its own behind an ingress. */}}
{{- define "chainsight.mlflow.origins" -}}
{{- $origins := list "http://localhost:*" "http://127.0.0.1:*" }}
{{- with .Values.mlflow.ingress }}
{{- if .enabled }}{{ $origins = prepend $origins (printf "%s://%s" (ternary "https" "http" (ne .tlsSecret "")) .host) }}{{ end }}
{{- end }}
{{- join "," (concat $origins .Values.mlflow.corsOrigins) }}
{{- end }}

{{/* The script of the server's pods as a ConfigMap: (list $ name annotations). */}}
{{- define "chainsight.mlflow.script" -}}
{{- $root := index . 0 -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "chainsight.metadata" (list $root (index . 1)) | nindent 2 }}
  {{- with index . 2 }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
data:
  mlflow_pod.py: | {{- $root.Files.Get "files/mlflow_pod.py" | nindent 4 }}
{{- end }}

{{/* A container that runs it: (list $ name arguments). */}}
{{- define "chainsight.mlflow.run" -}}
{{- $root := index . 0 -}}
- name: {{ index . 1 }}
  image: {{ include "chainsight.image" (list $root "mlflow") }}
  {{- include "chainsight.container" $root | nindent 2 }}
  command: [python, /scripts/mlflow_pod.py]
  args: {{ toJson (index . 2) }}
  resources: {{- toYaml $root.Values.mlflow.resources | nindent 4 }}
{{- end }}

{{/* What the pods of ours have in common. */}}

{{/* Beginning of a pod's spec: (list $ "serviceaccount"); "" is an account without a token and without rights. */}}
{{- define "chainsight.pod" -}}
{{- $root := first . }}
{{- with $root.Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
serviceAccountName: {{ last . }}
enableServiceLinks: false
securityContext: {{- include "chainsight.podSecurity" $root | nindent 2 }}
{{- end }}

{{- define "chainsight.podSecurity" -}}
{{- .Values.openshift | ternary (omit .Values.podSecurityContext "runAsUser" "runAsGroup" "fsGroup") .Values.podSecurityContext | toYaml }}
{{- end }}

{{/* A container's security context, and that its image is pulled. */}}
{{- define "chainsight.container" -}}
imagePullPolicy: {{ .Values.images.pullPolicy }}
securityContext: {{- toYaml .Values.containerSecurityContext | nindent 2 }}
{{- end }}

{{/* Where pods may run: the section `pod` of a workload; (list $ pod gpus): with GPUs, on GPU nodes. */}}
{{- define "chainsight.placement" -}}
{{- $root := index . 0 }}
{{- $pod := index . 1 }}
{{- $selector := $pod.nodeSelector | default dict }}
{{- $tolerations := $pod.tolerations | default list }}
{{- if gt (int (index . 2)) 0 }}
{{- $selector = mergeOverwrite (include "chainsight.gpuSelector" $root | fromYaml) $selector }}
{{- $tolerations = concat (include "chainsight.gpuTolerations" $root | fromYamlArray) $tolerations }}
{{- end }}
{{- with $selector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with $pod.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Resources of a container, with so many GPUs: (list $ resources gpus). */}}
{{- define "chainsight.withGpus" -}}
{{- $root := index . 0 }}
{{- $gpus := index . 2 }}
{{- $resources := deepCopy (index . 1) }}
{{- if gt (int $gpus) 0 }}
{{- range list "requests" "limits" }}
{{- $_ := set (get $resources .) $root.Values.gpu.resource (toString $gpus) }}
{{- end }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* Labels and annotations of a pod's template: (list $ component pod annotations). */}}
{{- define "chainsight.podMetadata" -}}
{{- $pod := index . 2 }}
labels: {{- merge (include "chainsight.labels" (list (index . 0) (index . 1)) | fromYaml) ($pod.labels | default dict) | toYaml | nindent 2 }}
{{- with merge (dict) ($pod.annotations | default dict) (index . 3) }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The store, as boto3 and MLflow read it. */}}
{{- define "chainsight.env.store" -}}
{{- $secret := include "chainsight.secret.store" . }}
{{- range list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ . }}, optional: true}}
{{- end }}
- name: AWS_ENDPOINT_URL
{{- with include "chainsight.storeEndpoint" . }}
  value: {{ . | quote }}
{{- else }}
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: AWS_ENDPOINT_URL, optional: true}}
{{- end }}
{{- with .Values.store }}
- {name: AWS_DEFAULT_REGION, value: {{ .region | quote }}}
- {name: MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE, value: {{ .addressing }}}
- {name: AWS_REQUEST_CHECKSUM_CALCULATION, value: {{ .checksums }}}
- {name: AWS_RESPONSE_CHECKSUM_VALIDATION, value: {{ .checksums }}}
{{- end }}
{{- end }}

{{/* MLflow's credentials: (list $ "name of the Secret, or empty for that of tracking"). */}}
{{- define "chainsight.env.tracking" -}}
{{- $secret := last . | default (include "chainsight.secret.tracking" (first .)) }}
- {name: MLFLOW_TRACKING_URI, value: {{ include "chainsight.trackingUri" (first .) | quote }}}
{{- range list "MLFLOW_TRACKING_USERNAME" "MLFLOW_TRACKING_PASSWORD" }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ . }}, optional: true}}
{{- end }}
- {name: MLFLOW_DISABLE_TELEMETRY, value: "true"}
- {name: MLFLOW_ALLOW_PICKLE_DESERIALIZATION, value: "false"}
{{- end }}

{{/* The mount of a profile's ConfigMap, its volume, and the digest that rolls the pods when it changes. */}}
{{- define "chainsight.config.volume" -}}
- name: config
  configMap: {name: {{ include "chainsight.name" (list (first .) (print "profile-" (last .))) }}}
{{- end }}

{{- define "chainsight.config.annotation" -}}
chainsight.dev/config: {{ include "chainsight.profile" . | sha256sum | trunc 16 }}
{{- end }}

{{- define "chainsight.config.path" -}}
/etc/chainsight/config.yaml
{{- end }}

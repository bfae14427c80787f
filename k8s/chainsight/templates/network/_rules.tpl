{{/* Pieces of NetworkPolicies: each a list item or two of `egress`, `to` or `from`. */}}

{{- define "chainsight.net.ports" -}}
{{- range . }}
- {port: {{ . }}, protocol: TCP}
{{- end }}
{{- end }}

{{/* Egress to addresses: (dict "cidrs" "ports" "except"). */}}
{{- define "chainsight.net.addresses" -}}
{{- if .cidrs }}
- to:
  {{- $except := .except }}
  {{- range .cidrs }}
  - ipBlock:
      cidr: {{ . }}
      {{- with $except }}
      except: {{ toJson . }}
      {{- end }}
  {{- end }}
  ports: {{- include "chainsight.net.ports" .ports | trim | nindent 2 }}
{{- end }}
{{- end }}

{{/* The teacher: addresses outside, and the server of this release. */}}
{{- define "chainsight.net.teacher" -}}
{{- include "chainsight.net.addresses" .Values.networkPolicy.teacher }}
{{- with .Values.teacher.server }}
{{- if .enabled }}
- to: {{- include "chainsight.net.pods" (list $ "teacher") | nindent 2 }}
  ports: [{port: {{ .port }}, protocol: TCP}]
{{- end }}
{{- end }}
{{- end }}

{{/* Peers: the pods of pipelines that ask the teacher. */}}
{{- define "chainsight.net.asking" -}}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ include "chainsight.runsNamespace" . }}}}
  podSelector: {matchExpressions: [{key: chainsight.dev/run, operator: Exists}, {key: chainsight.dev/stage, operator: In, values: [distill, doctor]}]}
{{- end }}

{{/* Peers: the pods of a component of this release: (list $ component). */}}
{{- define "chainsight.net.pods" -}}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ (first .).Release.Namespace }}}}
  podSelector:
    matchLabels: {{- include "chainsight.selector" . | nindent 6 }}
{{- end }}

{{/* Peers: all pods of this release, and those of pipelines. */}}
{{- define "chainsight.net.ours" -}}
- podSelector:
    matchLabels: {app.kubernetes.io/name: {{ .Chart.Name }}, app.kubernetes.io/instance: {{ .Release.Name }}}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ include "chainsight.runsNamespace" . }}}}
  podSelector: {matchExpressions: [{key: chainsight.dev/run, operator: Exists}]}
{{- end }}

{{- define "chainsight.net.dns" -}}
- ports:
  {{- range .Values.networkPolicy.dnsPorts }}
  - {port: {{ . }}, protocol: UDP}
  - {port: {{ . }}, protocol: TCP}
  {{- end }}
{{- end }}

{{- define "chainsight.net.store" -}}
{{- include "chainsight.net.addresses" .Values.networkPolicy.store }}
{{- if .Values.s3.enabled }}
- to: {{- include "chainsight.net.pods" (list . "s3") | nindent 2 }}
  ports: [{port: {{ .Values.s3.port }}, protocol: TCP}]
{{- end }}
{{- end }}

{{- define "chainsight.net.tracking" -}}
{{- if .Values.mlflow.enabled }}
- to: {{- include "chainsight.net.pods" (list . "mlflow") | nindent 2 }}
  ports: [{port: {{ .Values.mlflow.port }}, protocol: TCP}]
{{- else }}
{{- include "chainsight.net.addresses" .Values.networkPolicy.tracking }}
{{- end }}
{{- end }}

{{- define "chainsight.net.database" -}}
{{- if .Values.postgres.enabled }}
- to: {{- include "chainsight.net.pods" (list . "postgres") | nindent 2 }}
  ports: [{port: 5432, protocol: TCP}]
{{- else }}
{{- include "chainsight.net.addresses" .Values.networkPolicy.database }}
{{- end }}
{{- end }}

{{- define "chainsight.net.kfp" -}}
- to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .Values.kfp.namespace }}}}}]
  ports: {{- include "chainsight.net.ports" (concat .Values.networkPolicy.kfp.ports .Values.networkPolicy.store.ports | uniq) | trim | nindent 2 }}
{{- end }}

{{- define "chainsight.net.api" -}}
{{- include "chainsight.net.addresses" .Values.networkPolicy.kubernetesApi }}
{{- end }}

{{/* A policy of one component: (list $ component egress-rules ingress-peers port). */}}
{{- define "chainsight.net.policy" -}}
{{- $root := index . 0 -}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "chainsight.metadata" (list $root (index . 1)) | nindent 2 }}
spec:
  podSelector:
    matchLabels: {{- include "chainsight.selector" (list $root (index . 1)) | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- with index . 2 | trim }}
  egress: {{- . | nindent 2 }}
  {{- end }}
  {{- with index . 3 | trim }}
  ingress:
  - from: {{- . | nindent 4 }}
    ports: [{port: {{ index $ 4 }}, protocol: TCP}]
  {{- end }}
{{- end }}

{{/* Peers of values: clients, monitoring. */}}
{{- define "chainsight.net.peers" -}}
{{- if . }}
{{ toYaml . }}
{{- end }}
{{- end }}

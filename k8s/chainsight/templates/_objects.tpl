{{/* Whole objects that several services have. */}}

{{/* An account: (list $ name annotations namespace). The token is mounted only where a pod asks for it. */}}
{{- define "chainsight.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "chainsight.metadata" (list (index . 0) (index . 1)) | nindent 2 }}
  {{- with index . 2 }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}

{{/* An Ingress of a service: (list $ "mlflow" values port-name). */}}
{{- define "chainsight.ingress" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- with (index . 2).ingress }}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{- include "chainsight.metadata" (list $root $name) | nindent 2 }}
  {{- with .annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- if .tlsSecret }}
  tls:
  - {hosts: [{{ .host }}], secretName: {{ .tlsSecret }}}
  {{- end }}
  rules:
  - host: {{ .host }}
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {service: {name: {{ include "chainsight.name" (list $root $name) }}, port: {name: http}}}
{{- end }}
{{- end }}

{{/* A Service: (list $ "mlflow" type port annotations). */}}
{{- define "chainsight.service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "chainsight.metadata" (list (index . 0) (index . 1)) | nindent 2 }}
  {{- with index . 4 }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ index . 2 }}
  selector: {{- include "chainsight.selector" (list (index . 0) (index . 1)) | nindent 4 }}
  ports:
  - {name: http, port: {{ index . 3 }}, targetPort: http, protocol: TCP}
{{- end }}

{{/* All pods but one stay during the drain of nodes: (list $ "mlflow"). */}}
{{- define "chainsight.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "chainsight.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "chainsight.selector" . | nindent 6 }}
{{- end }}

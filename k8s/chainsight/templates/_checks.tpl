{{/* Whether a cluster can be looked at: `helm template` sees no account anywhere. */}}
{{- define "chainsight.seesCluster" -}}
{{- if and (ne .Values.checks "never") (lookup "v1" "ServiceAccount" .Release.Namespace "default") }}true{{ end }}
{{- end }}

{{/* APIs that the values ask for and that other projects install. */}}
{{- define "chainsight.checkApis" -}}
{{- $root := . }}
{{- if or (eq .Values.checks "always") (include "chainsight.seesCluster" .) }}
{{- with .Values }}
{{- $asked := list
  (list .trainer.enabled "trainer.kubeflow.org/v1alpha1" "trainer.enabled" "Kubeflow Trainer 2.3")
  (list .kueue.enabled .kueue.apiVersion "kueue.enabled" "Kueue (v1beta2: 0.15 or newer)")
  (list .monitoring.serviceMonitors "monitoring.coreos.com/v1" "monitoring.serviceMonitors" "the Prometheus operator")
  (list .monitoring.rules "monitoring.coreos.com/v1" "monitoring.rules" "the Prometheus operator") }}
{{- range $asked }}
{{- if and (index . 0) (not ($root.Capabilities.APIVersions.Has (index . 1))) }}
{{- fail (printf "%s is true, but this cluster has no API %s: install %s first, or set it to false (checks=never renders without looking)" (index . 2) (index . 1) (index . 3)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Secrets that the MLflow server cannot start without; those of the other pods may be missing. */}}
{{- define "chainsight.checkSecrets" -}}
{{- $root := . }}
{{- if and .Values.mlflow.enabled (include "chainsight.seesCluster" .) }}
{{- $named := list }}
{{- if not .Values.postgres.enabled }}
{{- $named = append $named (list (include "chainsight.secret.database" .) "uri=postgresql+psycopg2://... --from-literal=auth-uri=postgresql+psycopg2://...") }}
{{- end }}
{{- if or (not .Values.postgres.enabled) .Values.mlflow.auth.existingSecret.name }}
{{- $named = append $named (list (include "chainsight.secret.auth" .) "username=admin --from-literal=password=... --from-literal=session-key=...") }}
{{- end }}
{{- range $named }}
{{- if not (lookup "v1" "Secret" $root.Release.Namespace (first .)) }}
{{- fail (printf "the Secret %s is not in namespace %s; make it: kubectl -n %s create secret generic %s --from-literal=%s (checks=never installs without looking)" (first .) $root.Release.Namespace $root.Release.Namespace (first .) (last .)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* All names, labels and images. Nothing else in the chart makes one up. */}}

{{/* A name that is too long is cut; what it was is in the digest at its end. */}}
{{- define "chainsight.base" -}}
{{- $chart := default .Chart.Name .Values.nameOverride }}
{{- $name := .Values.fullnameOverride | default (contains $chart .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $chart)) }}
{{- if gt (len $name) 40 }}{{ $name = printf "%s-%s" ($name | trunc 31 | trimSuffix "-") ($name | sha256sum | trunc 8) }}{{ end }}
{{- $name }}
{{- end }}

{{/* The name of an object: (list $ "mlflow") gives RELEASE-mlflow. Derived by Kubernetes: 63 characters at most. */}}
{{- define "chainsight.name" -}}
{{- printf "%s-%s" (include "chainsight.base" (first .)) (last .) }}
{{- end }}

{{- define "chainsight.runsNamespace" -}}
{{- .Values.runs.namespace | default .Values.kfp.namespace }}
{{- end }}

{{- define "chainsight.runnerName" -}}
{{- .Values.runner.name | default (include "chainsight.name" (list . "runner")) }}
{{- end }}

{{/* A service's address inside the cluster: (list $ "mlflow" 5000). */}}
{{- define "chainsight.address" -}}
{{- $root := index . 0 }}
{{- printf "http://%s.%s.svc.%s:%d" (include "chainsight.name" (list $root (index . 1))) $root.Release.Namespace $root.Values.clusterDomain (int (index . 2)) }}
{{- end }}

{{/* What selects the pods of a component: (list $ "mlflow"). It must not change over upgrades. */}}
{{- define "chainsight.selector" -}}
app.kubernetes.io/name: {{ (first .).Chart.Name }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{/* The labels of an object: (list $ "mlflow"). */}}
{{- define "chainsight.labels" -}}
{{- $root := first . }}
{{- include "chainsight.selector" . }}
app.kubernetes.io/part-of: chainsight
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Name, namespace and labels: (list $ name), (list $ name component) or (list $ name component namespace). */}}
{{- define "chainsight.metadata" -}}
{{- $root := index . 0 }}
{{- $component := index . 1 }}
{{- $namespace := $root.Release.Namespace }}
{{- if gt (len .) 2 }}{{ $component = index . 2 }}{{ end }}
{{- if gt (len .) 3 }}{{ $namespace = index . 3 }}{{ end -}}
name: {{ include "chainsight.name" (list $root (index . 1)) }}
namespace: {{ $namespace }}
labels: {{- include "chainsight.labels" (list $root $component) | nindent 2 }}
{{- end }}

{{/* An image: (list $ "register"). A digest overrides the tag; ours have the prefix and the version as default. */}}
{{- define "chainsight.image" -}}
{{- $root := first . }}
{{- $image := get $root.Values.images (last .) }}
{{- $ours := not (has (last .) (list "vllm" "postgres" "s3")) }}
{{- $name := $ours | ternary (print $root.Values.images.prefix $image.repository) $image.repository }}
{{- $tag := $image.tag | default ($ours | ternary $root.Chart.AppVersion "") }}
{{- if $image.digest }}{{ printf "%s@%s" $name $image.digest }}
{{- else if $root.Values.images.requireDigests }}
{{- fail (printf "images.requireDigests is true, but images.%s.digest is empty: give the digest that the registry shows (docker/build.sh --push writes it to images.lock.json)" (last .)) }}
{{- else if not $tag }}
{{- fail (printf "images.%s has neither tag nor digest: give the one that you have tried" (last .)) }}
{{- else }}{{ printf "%s:%s" $name $tag }}
{{- end }}
{{- end }}

{{/* Names of Secrets: those that are named, else those of the try-out services, else what the README says. */}}
{{- define "chainsight.secret.store" -}}
{{- .Values.store.existingSecret.name | default (.Values.s3.enabled | ternary (include "chainsight.name" (list . "s3")) "chainsight-store") }}
{{- end }}

{{- define "chainsight.secret.tracking" -}}
{{- .Values.tracking.existingSecret.name | default (.Values.postgres.enabled | ternary (include "chainsight.name" (list . "tracking")) "chainsight-tracking") }}
{{- end }}

{{- define "chainsight.secret.database" -}}
{{- if .Values.postgres.enabled }}{{ .Values.postgres.existingSecret.name | default (include "chainsight.name" (list . "postgres")) }}
{{- else }}{{ .Values.mlflow.database.existingSecret.name | default (include "chainsight.name" (list . "mlflow-database")) }}
{{- end }}
{{- end }}

{{- define "chainsight.secret.auth" -}}
{{- .Values.mlflow.auth.existingSecret.name | default (include "chainsight.name" (list . "mlflow-auth")) }}
{{- end }}

{{/* What follows from the values: addresses, GPU nodes, the run configurations. */}}

{{- define "chainsight.trackingUri" -}}
{{- .Values.tracking.uri | default (include "chainsight.address" (list . "mlflow" .Values.mlflow.port)) }}
{{- end }}

{{- define "chainsight.kfpEndpoint" -}}
{{- .Values.kfp.endpoint | default (printf "http://ml-pipeline.%s.svc.%s:8888" .Values.kfp.namespace .Values.clusterDomain) }}
{{- end }}

{{- define "chainsight.storeEndpoint" -}}
{{- .Values.s3.enabled | ternary (include "chainsight.address" (list . "s3" .Values.s3.port)) .Values.store.endpoint }}
{{- end }}

{{- define "chainsight.bucket" -}}
{{- first (splitList "/" (trimPrefix "s3://" .Values.store.uri)) }}
{{- end }}

{{/*
Labels of GPU nodes, by profile: those that the provider sets itself.
  gke    cloud.google.com/gke-accelerator, cloud.google.com/gke-spot (GKE, "Run GPUs", "Spot VMs")
  eks    node.kubernetes.io/instance-type is what managed groups and Karpenter share;
         eks.amazonaws.com/capacityType (EKS, "Managed node groups"); Karpenter: gpu.nodeSelector
  aks    kubernetes.azure.com/accelerator; kubernetes.azure.com/scalesetpriority (AKS, "Use GPUs", "Spot node pool")
  metal  nvidia.com/gpu.present, nvidia.com/gpu.product (NVIDIA GPU feature discovery)
*/}}
{{- define "chainsight.gpuSelector" -}}
{{- $gpu := .Values.gpu }}
{{- $labels := dict }}
{{- if eq $gpu.profile "gke" }}
{{- with $gpu.accelerator }}{{ $_ := set $labels "cloud.google.com/gke-accelerator" . }}{{ end }}
{{- if $gpu.spot }}{{ $_ := set $labels "cloud.google.com/gke-spot" "true" }}{{ end }}
{{- else if eq $gpu.profile "eks" }}
{{- with $gpu.accelerator }}{{ $_ := set $labels "node.kubernetes.io/instance-type" . }}{{ end }}
{{- if $gpu.spot }}{{ $_ := set $labels "eks.amazonaws.com/capacityType" "SPOT" }}{{ end }}
{{- else if eq $gpu.profile "aks" }}
{{- $_ := set $labels "kubernetes.azure.com/accelerator" ($gpu.accelerator | default "nvidia") }}
{{- if $gpu.spot }}{{ $_ := set $labels "kubernetes.azure.com/scalesetpriority" "spot" }}{{ end }}
{{- else if eq $gpu.profile "metal" }}
{{- $_ := set $labels "nvidia.com/gpu.present" "true" }}
{{- with $gpu.accelerator }}{{ $_ := set $labels "nvidia.com/gpu.product" . }}{{ end }}
{{- end }}
{{- toYaml (mergeOverwrite $labels $gpu.nodeSelector) }}
{{- end }}

{{/*
Taints of GPU nodes: nvidia.com/gpu everywhere by default (GKE sets it, EKS and the GPU operator document it), AKS
documents sku=gpu for GPUs and sets its own taint on spot nodes; on GKE and EKS the spot taint is a custom.
*/}}
{{- define "chainsight.gpuTolerations" -}}
{{- $gpu := .Values.gpu }}
{{- $taints := $gpu.tolerations }}
{{- if eq $gpu.profile "aks" }}
{{- $taints = append $taints (dict "key" "sku" "operator" "Equal" "value" "gpu" "effect" "NoSchedule") }}
{{- end }}
{{- if $gpu.spot }}
{{- $spot := dict "gke" "cloud.google.com/gke-spot" "eks" "eks.amazonaws.com/capacityType" "aks" "kubernetes.azure.com/scalesetpriority" }}
{{- with get $spot $gpu.profile }}
{{- $taints = append $taints (dict "key" . "operator" "Exists" "effect" "NoSchedule") }}
{{- end }}
{{- end }}
{{- toYaml $taints }}
{{- end }}

{{/* The name of the TrainingRuntime. */}}
{{- define "chainsight.runtime" -}}
{{- include "chainsight.name" (list . "torch") }}
{{- end }}

{{/* Where the teacher of this release answers. */}}
{{- define "chainsight.teacher.url" -}}
http://{{ include "chainsight.name" (list . "teacher") }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}:{{ .Values.teacher.server.port }}/v1
{{- end }}

{{/* What the chart knows of a run, as Chainsight's configuration: (list $ "paper"). */}}
{{- define "chainsight.known" -}}
{{- $root := first . }}
{{- with $root.Values }}
run:
  store: {{ .store.uri }}
  tracking_uri: {{ include "chainsight.trackingUri" $root }}
platform:
  gpu_type: {{ .gpu.resource }}
  node_selector: {{- include "chainsight.gpuSelector" $root | nindent 4 }}
  tolerations: {{- include "chainsight.gpuTolerations" $root | nindent 4 }}
  store_secret: {{ include "chainsight.secret.store" $root }}
  teacher_secret: {{ .teacher.existingSecret.name }}
  tracking_secret: {{ include "chainsight.secret.tracking" $root }}
  {{- if .trainer.enabled }}
  launcher: trainjob
  runtime: {{ include "chainsight.runtime" $root }}
  {{- end }}
  {{- if .kueue.enabled }}
  queue: {{ .kueue.queue }}
  {{- end }}
{{- if eq (last $) .promotion.profile }}
promotion:
  poll_seconds: {{ .promotion.pollSeconds }}
  rollout_seconds: {{ .promotion.rolloutSeconds }}
  {{- with .promotion.productionName }}
  production_name: {{ . }}
  {{- end }}
  {{- if .serving.enabled }}
  deployment: {{ include "chainsight.name" (list $root "serving") }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A whole run configuration: what the chart knows, over it the shipped file, over it the profile's own settings. */}}
{{- define "chainsight.profile" -}}
{{- $root := first . }}
{{- $profile := get $root.Values.profiles (last .) }}
{{- if not $profile }}{{ fail (printf "no profile is called %q; profiles has: %s" (last .) (keys $root.Values.profiles | sortAlpha | join ", ")) }}{{ end }}
{{- $config := $profile.config | default dict }}
{{- if kindIs "string" $config }}{{ $config = fromYaml $config }}{{ end }}
{{- if hasKey $config "Error" }}{{ fail (printf "profiles.%s.config is no YAML: %s" (last .) $config.Error) }}{{ end }}
{{- $shipped := dict }}
{{- with $profile.file }}{{ $shipped = $root.Files.Get (printf "files/%s.yaml" .) | fromYaml }}{{ end }}
{{- toYaml (mergeOverwrite (include "chainsight.known" . | fromYaml) $shipped (deepCopy $config)) }}
{{- end }}

{{/* The registered model of a profile's candidates, and the one that is served. */}}
{{- define "chainsight.candidateModel" -}}
{{- $register := (include "chainsight.profile" . | fromYaml).register | default dict }}
{{- $register.model_name | default "chainsight" }}
{{- end }}

{{- define "chainsight.servedModel" -}}
{{- .Values.promotion.productionName | default (include "chainsight.candidateModel" (list . .Values.promotion.profile)) }}
{{- end }}

{{/* The mark of all that is for trying out only. */}}
{{- define "chainsight.tryout" -}}
chainsight.dev/for-trying-out-only: "no backup, no replication, a generated password: not for production"
{{- end }}

{{/* A generated password: (list $ name key length [b64]); the one that is in the cluster, if there is one. */}}
{{- define "chainsight.kept" -}}
{{- $root := index . 0 }}
{{- $there := lookup "v1" "Secret" $root.Release.Namespace (include "chainsight.name" (list $root (index . 1))) }}
{{- $known := get (dig "data" dict ($there | default dict)) (index . 2) }}
{{- if $known }}{{ b64dec $known }}{{ else }}
{{- $made := randAlphaNum (int (index . 3)) }}
{{- if gt (len .) 4 }}{{ $made = b64enc $made }}{{ end }}
{{- $made }}
{{- end }}
{{- end }}

{{/* A StatefulSet's volume: a claim, or the pod's own disk: (list $ values). */}}
{{- define "chainsight.tryout.claim" -}}
{{- with last . }}
{{- if .storage }}
volumeClaimTemplates:
- metadata: {name: data}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources: {requests: {storage: {{ .storage }}}}
{{- end }}
{{- end }}
{{- end }}

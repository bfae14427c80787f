{{/* The container that answers: our server, or vLLM over what `fetch` has verified. */}}
{{- define "chainsight.serving.container" -}}
{{- $serving := .Values.serving -}}
{{- $vllm := eq $serving.engine "vllm" -}}
{{- $model := include "chainsight.servedModel" . -}}
- name: serve
  image: {{ include "chainsight.image" (list . (ternary "vllm" "evaluate" $vllm)) }}
  {{- include "chainsight.container" . | nindent 2 }}
  {{- if $vllm }}
  command: [vllm, serve, /model]
  args: {{ concat (list (print "--served-model-name=" $model) "--host=0.0.0.0" (print "--port=" $serving.port) (print "--tensor-parallel-size=" $serving.gpus) "--generation-config=vllm" "--limit-mm-per-prompt={\"image\": 1}") $serving.extraArgs | toJson }}
  env:
  - {name: HOME, value: /tmp} # the image's own is root's
  - {name: XDG_CACHE_HOME, value: /tmp/cache}
  - {name: VLLM_NO_USAGE_STATS, value: "1"}
  - {name: HF_HUB_OFFLINE, value: "1"}
  {{- else }}
  args: {{ concat (list "chainsight" "serve" (include "chainsight.config.path" .) "--host=0.0.0.0" (print "--port=" $serving.port)) $serving.extraArgs | toJson }}
  env:
  {{- include "chainsight.env.store" . | trim | nindent 2 }}
  {{- include "chainsight.env.tracking" (list . $serving.existingSecret.name) | trim | nindent 2 }}
  {{- end }}
  {{- with $serving.extraEnv }}{{ toYaml . | nindent 2 }}{{ end }}
  ports:
  - {name: http, containerPort: {{ $serving.port }}, protocol: TCP}
  startupProbe: # ours is alive while it waits for a champion; vLLM answers once it has loaded
    httpGet: {path: {{ ternary "/health" "/healthz" $vllm }}, port: http}
    periodSeconds: 5
    failureThreshold: {{ div $serving.startupSeconds 5 }}
  readinessProbe:
    httpGet: {path: {{ ternary "/health" "/readyz" $vllm }}, port: http}
    periodSeconds: 5
    failureThreshold: 3
  livenessProbe:
    httpGet: {path: {{ ternary "/health" "/healthz" $vllm }}, port: http}
    periodSeconds: 20
    timeoutSeconds: 10
    failureThreshold: 6
  resources: {{- include "chainsight.withGpus" (list . $serving.resources $serving.gpus) | nindent 4 }}
  volumeMounts:
  {{- if $vllm }}
  - {name: model, mountPath: /model, readOnly: true}
  - {name: shm, mountPath: /dev/shm}
  {{- else }}
  - {name: config, mountPath: /etc/chainsight, readOnly: true}
  {{- end }}
  - {name: tmp, mountPath: /tmp}
  {{- with $serving.extraVolumeMounts }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}

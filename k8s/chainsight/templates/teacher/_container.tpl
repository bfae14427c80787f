{{/* vLLM over a model of the hub, or over a folder of the claim. */}}
{{- define "chainsight.teacher.container" -}}
{{- $root := . -}}
{{- with .Values.teacher.server -}}
- name: teacher
  image: {{ include "chainsight.image" (list $root "vllm") }}
  {{- include "chainsight.container" $root | nindent 2 }}
  command: [vllm, serve, {{ .model | quote }}]
  args: {{ concat (list (print "--served-model-name=" (.servedName | default .model)) "--host=0.0.0.0" (print "--port=" .port) (print "--tensor-parallel-size=" .gpus) "--generation-config=vllm") .extraArgs | toJson }}
  env:
  - {name: HOME, value: /tmp} # the image's own is root's
  - {name: XDG_CACHE_HOME, value: /tmp/cache}
  - {name: HF_HOME, value: /weights/hub}
  - {name: HF_HUB_OFFLINE, value: {{ .download | ternary "0" "1" | quote }}}
  - {name: VLLM_NO_USAGE_STATS, value: "1"}
  {{- if and .download .existingSecret.name }}
  - name: HF_TOKEN
    valueFrom: {secretKeyRef: {name: {{ .existingSecret.name }}, key: HF_TOKEN, optional: true}}
  {{- end }}
  {{- with .extraEnv }}{{ toYaml . | nindent 2 }}{{ end }}
  ports:
  - {name: http, containerPort: {{ .port }}, protocol: TCP}
  startupProbe: # vLLM answers once it has downloaded and loaded
    httpGet: {path: /health, port: http}
    periodSeconds: 5
    failureThreshold: {{ div .startupSeconds 5 }}
  readinessProbe:
    httpGet: {path: /health, port: http}
    periodSeconds: 5
    failureThreshold: 3
  livenessProbe:
    httpGet: {path: /health, port: http}
    periodSeconds: 20
    timeoutSeconds: 10
    failureThreshold: 6
  resources: {{- include "chainsight.withGpus" (list $root .resources .gpus) | nindent 4 }}
  volumeMounts:
  - {name: weights, mountPath: /weights}
  - {name: shm, mountPath: /dev/shm}
  - {name: tmp, mountPath: /tmp}
{{- end }}
{{- end }}

{{/* What all pods have in common. */}}

{{- define "rarebit.podSpec" -}}
automountServiceAccountToken: false
enableServiceLinks: false  # its RAREBIT_… variables are no settings
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{ range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "rarebit.securityContext" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Of (list root component). */}}
{{- define "rarebit.spread" -}}
topologySpreadConstraints: {{ range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "rarebit.selector" $ | nindent 8 }}
{{- end }}
{{- end }}

{{/* Of (list variable secret key): one that comes from a Secret which is there already. */}}
{{- define "rarebit.secretEnv" -}}
- name: {{ index . 0 }}
  valueFrom: {secretKeyRef: {name: {{ index . 1 }}, key: {{ index . 2 }}}}
{{- end }}

{{/* Of (list variable value); large numbers are floats to Helm. */}}
{{- define "rarebit.plainEnv" -}}
{{- $value := index . 1 -}}
- {name: {{ index . 0 }}, value: {{ ternary (toJson $value) (toString $value) (kindIs "float64" $value) | quote }}}
{{- end }}

{{/* The settings that gateway and workers share. */}}
{{- define "rarebit.env" -}}
{{- $plain := dict
  "RAREBIT_PUBLIC_URL" .Values.publicUrl
  "RAREBIT_AUTH" .Values.auth
  "RAREBIT_MODELS" (include "rarebit.models" . | fromJsonArray | toJson)
  "RAREBIT_STORAGE" .Values.storage.type
  "RAREBIT_SHUTDOWN_GRACE_S" .Values.shutdownGraceSeconds
  "RAREBIT_DATA_DIR" "/data" -}}
{{- with .Values.storage.s3 }}{{ if eq $.Values.storage.type "s3" -}}
{{- $_ := mergeOverwrite $plain (dict "RAREBIT_S3_ENDPOINT" .endpoint "RAREBIT_S3_BUCKET" .bucket "RAREBIT_S3_REGION" .region) -}}
{{- if .publicUrl }}{{ $_ := set $plain "RAREBIT_S3_PUBLIC_URL" .publicUrl }}{{ end -}}
{{- end }}{{ end -}}
{{- with .Values.otel }}{{ if .endpoint -}}
{{- $_ := mergeOverwrite $plain .settings (dict "OTEL_EXPORTER_OTLP_ENDPOINT" .endpoint) -}}
{{- end }}{{ end -}}
{{- range $name, $value := merge $plain .Values.settings }}
{{ include "rarebit.plainEnv" (list $name $value) }}
{{- end }}
{{ include "rarebit.secretEnv" (list "RAREBIT_REDIS_URL" .Values.redis.secret.name .Values.redis.secret.key) }}
{{- if and .Values.otel.endpoint .Values.otel.secret.name }}
{{ include "rarebit.secretEnv" (list "OTEL_EXPORTER_OTLP_HEADERS" .Values.otel.secret.name .Values.otel.secret.key) }}
{{- end }}
{{- if eq .Values.storage.type "s3" }}{{ with .Values.storage.s3.secret }}
{{ include "rarebit.secretEnv" (list "RAREBIT_S3_ACCESS_KEY" .name .accessKey) }}
{{ include "rarebit.secretEnv" (list "RAREBIT_S3_SECRET_KEY" .name .secretKey) }}
{{- end }}{{ else }}{{ with .Values.storage.local.secret }}
{{ include "rarebit.secretEnv" (list "RAREBIT_SIGNING_KEY" .name .key) }}
{{- end }}{{ end }}
{{- end }}

{{/* Those that the gateway alone reads. */}}
{{- define "rarebit.gatewayEnv" -}}
{{- $name := printf "%s-gateway" (include "rarebit.name" .) -}}
{{- $full := printf "%s.%s" $name .Release.Namespace -}}
{{- $names := list $name $full (printf "%s.svc" $full) (printf "%s.svc.cluster.local" $full) -}}
{{ include "rarebit.plainEnv" (list "RAREBIT_HOSTS" (concat $names .Values.hosts | toJson)) }}
{{ include "rarebit.plainEnv" (list "RAREBIT_CORS_ORIGINS" (.Values.corsOrigins | toJson)) }}
{{ include "rarebit.plainEnv" (list "RAREBIT_WEBHOOK_NETWORKS" (.Values.webhooks.networks | toJson)) }}
{{- with .Values.webhooks.secret }}{{ if .name }}
{{ include "rarebit.secretEnv" (list "RAREBIT_WEBHOOK_SECRET" .name .key) }}
{{- end }}{{ end }}
{{- end }}

{{/* What a program beside the gateway needs to call it. */}}
{{- define "rarebit.clientEnv" -}}
- {name: RAREBIT_URL, value: "http://{{ include "rarebit.name" . }}-gateway:8000"}
{{- with .Values.apiKey.secret }}{{ if .name }}
{{ include "rarebit.secretEnv" (list "RAREBIT_API_KEY" .name .key) }}
{{- end }}{{ end }}
{{- end }}

{{- define "rarebit.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: data, mountPath: /data}
{{- if .Values.redis.tlsSecret }}
- {name: redis-tls, mountPath: /etc/rarebit/redis, readOnly: true}
{{- end }}
{{- end }}

{{- define "rarebit.volumes" -}}
- {name: tmp, emptyDir: {}}
{{- if eq .Values.storage.type "local" }}
- {name: data, persistentVolumeClaim: {claimName: {{ .Values.storage.local.claim }}}}
{{- else }}
- {name: data, emptyDir: {}}
{{- end }}
{{- with .Values.redis.tlsSecret }}
- {name: redis-tls, secret: {secretName: {{ . }}}}
{{- end }}
{{- end }}

{{/* Where a pool's weights come from; all of these are of (list root pool), the pool with its defaults. */}}

{{/* How long a start may take: one that is cut off begins anew, and never ends. */}}
{{- define "rarebit.startupSeconds" -}}
{{- $pool := index . 1 -}}
{{ add 300 (mul 20 (ceil $pool.weights.gigabytes | int)) (mul 300 (len $pool.model.preload)) }}
{{- end }}

{{/* The hub's names among the model's parts. */}}
{{- define "rarebit.hubNames" -}}
{{- $names := list -}}
{{- range $part := list "prior" "decoder" "scorer" "safety" -}}
{{- $value := index (index $ 1).model $part -}}
{{- if and (contains "/" $value) (not (hasPrefix "/" $value)) }}{{ $names = append $names $value }}{{ end -}}
{{- end -}}
{{ uniq $names | toJson }}
{{- end }}

{{- define "rarebit.weightsMount" -}}
{{- $weights := (index . 1).weights -}}
{{- if ne $weights.source "baked" -}}
- {name: weights, mountPath: /data/models, readOnly: true}
{{- end }}
{{- end }}

{{- define "rarebit.weightsVolume" -}}
{{- $weights := (index . 1).weights -}}
{{- if eq $weights.source "image" -}}
- {name: weights, image: {reference: {{ $weights.image }}, pullPolicy: IfNotPresent}}
{{- else if eq $weights.source "claim" -}}
- {name: weights, persistentVolumeClaim: {claimName: {{ $weights.claim }}}}
{{- else if eq $weights.source "pull" -}}
- {name: weights, emptyDir: {}}
{{- end }}
{{- end }}

{{- define "rarebit.weightsPull" -}}
{{- $root := index . 0 }}{{ $pool := index . 1 -}}
initContainers:
  - name: weights
    {{- include "rarebit.image" (list $root $pool.image) | nindent 4 }}
    {{- include "rarebit.securityContext" $root | nindent 4 }}
    args: {{ concat (list "rarebit" "models" "pull") (include "rarebit.hubNames" . | fromJsonArray) | toJson }}
    env:
      - {name: RAREBIT_DATA_DIR, value: /data}
      {{- with $pool.weights.tokenSecret }}{{ if .name }}
      {{- include "rarebit.secretEnv" (list "HF_TOKEN" .name .key) | nindent 6 }}
      {{- end }}{{ end }}
    resources: {{ toJson $pool.resources }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      - {name: weights, mountPath: /data/models}
{{- end }}

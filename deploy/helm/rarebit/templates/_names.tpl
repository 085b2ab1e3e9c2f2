{{/* What things are called, and what tells them apart. */}}

{{- define "rarebit.name" -}}
{{ contains "rarebit" .Release.Name | ternary .Release.Name (printf "%s-rarebit" .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Of (list root component): what selects its pods, which never changes. */}}
{{- define "rarebit.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: rarebit
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "rarebit.labels" -}}
{{- $root := index . 0 -}}
{{ include "rarebit.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
{{- end }}

{{/* Of (list root name): one of the images of deploy/docker. */}}
{{- define "rarebit.image" -}}
{{- $root := index . 0 -}}
image: {{ $root.Values.images.registry }}/{{ index . 1 }}:{{ $root.Values.images.tag | default $root.Chart.AppVersion }}
imagePullPolicy: {{ $root.Values.images.pullPolicy }}
{{- end }}

{{/* The public URL's host without its port. */}}
{{- define "rarebit.publicHost" -}}
{{ regexReplaceAll ":[0-9]+$" (urlParse .Values.publicUrl).host "" }}
{{- end }}

{{/* The models that jobs may name, the default first, as JSON. */}}
{{- define "rarebit.models" -}}
{{- $models := list -}}
{{- range $key, $_ := .Values.pools -}}
{{- $models = append $models (include "rarebit.pool" (list $ $key) | fromJson).model.name -}}
{{- end -}}
{{ prepend (without (uniq $models | sortAlpha) .Values.defaultModel) .Values.defaultModel | toJson }}
{{- end }}

{{/* A pool with everything that it leaves to the defaults, as JSON. */}}
{{- define "rarebit.pool" -}}
{{- $root := index . 0 -}}
{{ mustMergeOverwrite (deepCopy $root.Values.poolDefaults) (index $root.Values.pools (index . 1) | default dict) | toJson }}
{{- end }}

{{/* What is asked of Prometheus, which may know of more than one Rarebit: each has a namespace of its own. */}}

{{/* Of (list root key pool): jobs of its model that run, and of those that wait as many as have to run at once for the
     last of them to start in time, beside what workers of other pools of the model do. Before anything was measured a
     job counts as one. */}}
{{- define "rarebit.workNow" -}}
{{- $root := index . 0 }}{{ $keda := (index . 2).keda -}}
{{- $model := (index . 2).model.name -}}
{{- $others := 0 -}}
{{- range $key, $_ := omit $root.Values.pools (index . 1) -}}
{{- $other := include "rarebit.pool" (list $root $key) | fromJson -}}
{{- if eq $other.model.name $model }}{{ $others = add $others $other.replicas }}{{ end -}}
{{- end -}}
{{- $work := printf "sum(max by (priority) (rarebit_jobs_waiting{model=\"#\"})) * (max(rarebit_job_seconds{model=\"#\", quantile=\"0.5\"}) or vector(%d)) / %d + max(rarebit_jobs_running{model=\"#\"})" (int $keda.startWithinSeconds) (int $keda.startWithinSeconds) -}}
{{- if $others }}{{ $work = printf "clamp_min(%s - %d, 0)" $work (mul $others $keda.jobsPerWorker) }}{{ end -}}
{{ include "rarebit.ownMetrics" (list $root $work) | replace "#" $model }}
{{- end }}

{{/* Of (list root expression): the same of this namespace alone. */}}
{{- define "rarebit.ownMetrics" -}}
{{- $own := printf "namespace=%q" (index . 0).Release.Namespace -}}
{{- $marked := regexReplaceAll `\b(rarebit_[a-z0-9_]+|up)\{` (index . 1) "${1}{@, " -}}
{{- $marked = regexReplaceAll `\b(rarebit_[a-z0-9_]+|up)([^a-z0-9_{]|$)` $marked "${1}{@}${2}" -}}
{{ replace "@" $own $marked }}
{{- end }}

{{/* Of which models the last worker goes when there is nothing to do, as JSON. */}}
{{- define "rarebit.scaledToZero" -}}
{{- $least := dict -}}
{{- range $key, $_ := .Values.pools -}}
{{- with include "rarebit.pool" (list $ $key) | fromJson -}}
{{- $_ := set $least .model.name (add (get $least .model.name | default 0) (ternary .keda.minReplicas .replicas .keda.enabled)) -}}
{{- end -}}
{{- end -}}
{{- $gone := list -}}
{{- range $model, $workers := $least }}{{ if not $workers }}{{ $gone = append $gone $model }}{{ end }}{{ end -}}
{{ toJson $gone }}
{{- end }}

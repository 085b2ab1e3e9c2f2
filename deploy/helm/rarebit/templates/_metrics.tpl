{{/* What is asked of Prometheus, which may know of more than one Rarebit: each has a namespace of its own. */}}

{{/* Of (list root key pool): jobs that run, and of those that wait as many as have to run at once for the last of them
     to start in time, beside what workers of other pools do. Before anything was measured a job counts as one. */}}
{{- define "rarebit.workNow" -}}
{{- $root := index . 0 }}{{ $keda := (index . 2).keda -}}
{{- $others := 0 -}}
{{- range $key, $_ := omit $root.Values.pools (index . 1) -}}
{{- $others = add $others (include "rarebit.pool" (list $root $key) | fromJson).replicas -}}
{{- end -}}
{{- $work := printf "sum(max by (priority) (rarebit_jobs_waiting)) * (max(rarebit_job_seconds{quantile=\"0.5\"}) or vector(%d)) / %d + max(rarebit_jobs_running)" (int $keda.startWithinSeconds) (int $keda.startWithinSeconds) -}}
{{- if $others }}{{ $work = printf "clamp_min(%s - %d, 0)" $work (mul $others $keda.jobsPerWorker) }}{{ end -}}
{{ include "rarebit.ownMetrics" (list $root $work) }}
{{- end }}

{{/* Of (list root expression): the same of this namespace alone. */}}
{{- define "rarebit.ownMetrics" -}}
{{- $own := printf "namespace=%q" (index . 0).Release.Namespace -}}
{{- $marked := regexReplaceAll `\b(rarebit_[a-z0-9_]+|up)\{` (index . 1) "${1}{@, " -}}
{{- $marked = regexReplaceAll `\b(rarebit_[a-z0-9_]+|up)([^a-z0-9_{]|$)` $marked "${1}{@}${2}" -}}
{{ replace "@" $own $marked }}
{{- end }}

{{/* Whether the last worker goes when there is nothing to do. */}}
{{- define "rarebit.scalesToZero" -}}
{{- $least := 0 -}}
{{- range $key, $_ := .Values.pools -}}
{{- with include "rarebit.pool" (list $ $key) | fromJson -}}
{{- $least = add $least (ternary .keda.minReplicas .replicas .keda.enabled) -}}
{{- end -}}
{{- end -}}
{{ if not $least }}yes{{ end }}
{{- end }}

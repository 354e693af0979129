{{/*
The rules of files/alerts with what values.prometheusRule changes. Nothing here goes through tpl: braces in the texts of
alerts are Prometheus'. All take the root.
*/}}

{{/* `groups`, as a PrometheusRule has them. */}}
{{- define "celery-exporter.ruleGroups" -}}
{{- $rule := .Values.prometheusRule -}}
{{- $groups := list (include "celery-exporter.settingsGroup" . | fromJson) -}}
{{- range $file := list "exporter" "workers" "queues" "tasks" -}}
{{- range $group := (include "celery-exporter.file" (list $ (printf "alerts/%s.yaml" $file)) | fromYaml).groups -}}
{{- /* The rules over long windows are the other half of celery-tasks. */ -}}
{{- $wanted := default dict (get $rule.groups (trimSuffix "-slow" $group.name)) -}}
{{- if $wanted.enabled -}}
{{- with $wanted.interval }}{{ if not $group.interval }}{{ $_ := set $group "interval" . }}{{ end }}{{ end -}}
{{- $_ := set $group "rules" (include "celery-exporter.changedRules" (list $rule $group.rules) | fromJsonArray) -}}
{{- if $group.rules }}{{ $groups = append $groups $group }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
groups:
  {{- concat $groups $rule.extraGroups | toYaml | nindent 2 }}
{{- end -}}

{{/* A file of files/, as it is. Takes the root and the file's name. */}}
{{- define "celery-exporter.file" -}}
{{- $text := (first .).Files.Get (printf "files/%s" (last .)) -}}
{{- if not $text -}}
{{- fail (printf "the chart has no files/%s: its folder links to grafana/, so take the packaged chart or a checkout with symbolic links" (last .)) -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{/* settings.yaml, with thresholds, links, overrides and schedules of the values. */}}
{{- define "celery-exporter.settingsGroup" -}}
{{- $rule := .Values.prometheusRule -}}
{{- $group := first (include "celery-exporter.file" (list . "alerts/settings.yaml") | fromYaml).groups -}}
{{- $rules := list -}}
{{- range $setting := $group.rules -}}
{{- $threshold := trimPrefix "celery:threshold:" $setting.record -}}
{{- if hasKey $rule.thresholds $threshold -}}
{{- $_ := set $setting "expr" (include "celery-exporter.vector" (get $rule.thresholds $threshold)) -}}
{{- else if eq $setting.record "celery:links" -}}
{{- range $name, $link := $rule.links }}{{ with $link }}{{ $_ := set $setting.labels $name (trimSuffix "/" .) }}{{ end }}{{ end -}}
{{- end -}}
{{- $rules = append $rules $setting -}}
{{- end -}}
{{- range $rule.overrides -}}
{{- $labels := pick . "queue" "task" -}}
{{- $rules = append $rules (dict "record" (printf "celery:threshold:%s" .threshold) "expr" (include "celery-exporter.vector" .value) "labels" $labels) -}}
{{- end -}}
{{- range $task, $seconds := $rule.schedules -}}
{{- $rules = append $rules (dict "record" "celery:schedule:max_age_seconds" "expr" (include "celery-exporter.vector" $seconds) "labels" (dict "task" $task)) -}}
{{- end -}}
{{- $_ := set $group "rules" $rules -}}
{{- toJson $group -}}
{{- end -}}

{{- define "celery-exporter.vector" -}}
{{- printf "vector(%s)" (kindIs "string" . | ternary . (toJson .)) -}}
{{- end -}}

{{/* The rules of a group without the alerts that are off, the others with what the values say. Takes the values and the rules. */}}
{{- define "celery-exporter.changedRules" -}}
{{- $values := first . -}}
{{- $rules := list -}}
{{- range $rule := last . -}}
{{- $change := dict -}}
{{- with $rule.alert -}}
{{- $change = default dict (get $values.alerts .) -}}
{{- $_ := set $rule "labels" (include "celery-exporter.merged" (list $rule.labels $values.alertLabels $change.labels) | fromYaml) -}}
{{- $_ := set $rule "annotations" (include "celery-exporter.merged" (list $rule.annotations $values.alertAnnotations $change.annotations) | fromYaml) -}}
{{- with $change.for }}{{ $_ := set $rule "for" . }}{{ end -}}
{{- with $change.keepFiringFor }}{{ $_ := set $rule "keep_firing_for" . }}{{ end -}}
{{- end -}}
{{- if not (eq (toString $change.enabled) "false") }}{{ $rules = append $rules $rule }}{{ end -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}

{{/*
What ServiceMonitor, PodMonitor and ScrapeConfig have in common. All take root and monitor, one of
values.serviceMonitor, podMonitor and scrapeConfig; the first two take values.workers.podMonitor as well.
*/}}

{{/* The metadata of one of them. Takes name too, if it is not the full name. */}}
{{- define "celery-exporter.monitorMetadata" -}}
{{- include "celery-exporter.metadata" (dict "root" .root "component" "monitoring" "name" .name "namespace" .monitor.namespace "labels" (list .monitor.labels) "annotations" (list .monitor.annotations)) -}}
{{- end -}}

{{/* The relabelings that give the names of another exporter, with the operator's spelling; a JSON array. */}}
{{- define "celery-exporter.compatibility" -}}
{{- $rules := list -}}
{{- with .monitor.compatibility -}}
{{- if $.root.Values.prometheusRule.enabled }}{{ fail (printf "compatibility: %s takes away names that the alerts of this chart need: use the alerts that you have, and enable prometheusRule when you drop compatibility" .) }}{{ end -}}
{{- $scrape := first (include "celery-exporter.file" (list $.root (printf "compatibility/%s.yaml" .)) | fromYaml).scrape_configs -}}
{{- range $rule := $scrape.metric_relabel_configs -}}
{{- $spelled := dict -}}
{{- range $key, $value := $rule }}{{ $_ := set $spelled (camelcase $key | untitle) $value }}{{ end -}}
{{- $rules = append $rules $spelled -}}
{{- end -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}

{{/* What all three call alike. */}}
{{- define "celery-exporter.scrapeFields" -}}
{{- range $field := list "scrapeTimeout" "tlsConfig" "basicAuth" "authorization" }}
{{- with get $.monitor $field }}
{{ $field }}: {{ toJson . }}
{{- end }}
{{- end }}
{{- $relabelings := include "celery-exporter.compatibility" . | fromJsonArray -}}
{{- with concat $relabelings .monitor.metricRelabelings }}
metricRelabelings:
  {{- range . }}
  - {{ toJson . }}
  {{- end }}
{{- end }}
{{- if .monitor.honorLabels }}
honorLabels: true
{{- end }}
{{- end -}}

{{/* The endpoint of a ServiceMonitor or PodMonitor. */}}
{{- define "celery-exporter.endpoint" -}}
port: http
path: {{ include "celery-exporter.telemetryPath" .root.Values.config }}
scheme: {{ empty (include "celery-exporter.https" .root) | ternary "http" "https" }}
{{- with .monitor.interval }}
interval: {{ . }}
{{- end }}
{{- include "celery-exporter.scrapeFields" . }}
{{- $relabelings := list -}}
{{- if .root.Values.brokers -}}
{{- $relabelings = list (dict "sourceLabels" (list "__meta_kubernetes_pod_label_celery_exporter_broker") "targetLabel" "broker" "action" "replace") -}}
{{- end }}
{{- with concat $relabelings .monitor.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What a spec says about all targets. */}}
{{- define "celery-exporter.targetFields" -}}
{{- with .monitor.jobLabel }}
jobLabel: {{ . }}
{{- end }}
{{- with .monitor.podTargetLabels }}
podTargetLabels: {{ toJson . }}
{{- end }}
{{- with .monitor.limits }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The rest of the spec of a ServiceMonitor or PodMonitor of the exporter. */}}
{{- define "celery-exporter.monitorSpec" -}}
{{- if not .root.Values.exporter.enabled }}{{ fail "serviceMonitor and podMonitor scrape the exporter, which exporter.enabled: false leaves out: drop one of them" }}{{ end -}}
{{- include "celery-exporter.targetFields" . }}
namespaceSelector:
  matchNames: [{{ include "celery-exporter.namespace" .root | quote }}]
selector:
  matchLabels:
    {{- include "celery-exporter.selectorLabels" .root | nindent 4 }}
{{- end -}}

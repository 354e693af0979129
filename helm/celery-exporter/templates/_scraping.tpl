{{/*
What ServiceMonitor, PodMonitor and ScrapeConfig have in common. All take root and monitor, one of
values.serviceMonitor, podMonitor and scrapeConfig; the first two take values.workers.podMonitor as well.
*/}}

{{/* The metadata of one of them. Takes name too, if it is not the full name. */}}
{{- define "celery-exporter.monitorMetadata" -}}
{{- include "celery-exporter.metadata" (dict "root" .root "component" "monitoring" "name" .name "namespace" .monitor.namespace "labels" (list .monitor.labels) "annotations" (list .monitor.annotations)) -}}
{{- end -}}

{{/* What all three call alike. */}}
{{- define "celery-exporter.scrapeFields" -}}
{{- range $field := list "scrapeTimeout" "tlsConfig" "basicAuth" "authorization" "metricRelabelings" }}
{{- with get $.monitor $field }}
{{ $field }}: {{ toJson . }}
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

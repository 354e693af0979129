{{/*
The endpoint: its file of TLS and users, what the chart knows of it, and how the kubelet asks. All take the root.
*/}}

{{/* The file for --web.config.file that the chart makes; empty if it makes none. */}}
{{- define "celery-exporter.webConfig" -}}
{{- $web := .Values.webConfig -}}
{{- if and $web.content $web.existingSecret.name }}{{ fail "webConfig has content and existingSecret: drop one of them" }}{{ end -}}
{{- if not $web.existingSecret.name -}}
{{- $content := deepCopy $web.content -}}
{{- if and $web.certificateSecret (not $content.tls_server_config) -}}
{{- $files := dict "cert_file" "/etc/celery-exporter/web-tls/tls.crt" "key_file" "/etc/celery-exporter/web-tls/tls.key" -}}
{{- $_ := set $content "tls_server_config" $files -}}
{{- end -}}
{{- with $content }}{{ toYaml . }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The Secret that holds the file; empty if there is none. */}}
{{- define "celery-exporter.webConfigSecret" -}}
{{- if .Values.webConfig.existingSecret.name -}}
{{- tpl .Values.webConfig.existingSecret.name . -}}
{{- else if include "celery-exporter.webConfig" . -}}
{{- include "celery-exporter.named" (dict "root" . "suffix" "web-config") -}}
{{- end -}}
{{- end -}}

{{/* The volume with that file, as a list; empty if there is none. */}}
{{- define "celery-exporter.webConfigVolume" -}}
{{- with include "celery-exporter.webConfigSecret" . -}}
{{- $existing := $.Values.webConfig.existingSecret -}}
{{- $item := dict "key" (empty $existing.name | ternary "web.yaml" $existing.key) "path" "web.yaml" -}}
{{- list (dict "name" "web-config" "secret" (dict "secretName" . "defaultMode" 288 "items" (list $item))) | toYaml -}}
{{- end -}}
{{- end -}}

{{/* "true" where the endpoint speaks TLS. */}}
{{- define "celery-exporter.https" -}}
{{- if .Values.webConfig.existingSecret.name -}}
{{- if .Values.webConfig.https }}true{{ end -}}
{{- else -}}
{{- if (include "celery-exporter.webConfig" . | fromYaml).tls_server_config }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* "true" where a client without a certificate is refused. */}}
{{- define "celery-exporter.clientCertificates" -}}
{{- if .Values.webConfig.existingSecret.name -}}
{{- if .Values.webConfig.clientCertificates }}true{{ end -}}
{{- else -}}
{{- $tls := default dict (include "celery-exporter.webConfig" . | fromYaml).tls_server_config -}}
{{- if has $tls.client_auth_type (list "RequireAnyClientCert" "RequireAndVerifyClientCert") }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/*
How one probe asks. Always /-/healthy, which is about the process alone and needs no user: an outage of the broker must
neither restart the exporter, which would lose its counters, nor take it out of scraping, or no alert could tell of the
outage. A kubelet takes any certificate, but has none of its own: where one is demanded the exporter asks itself.
*/}}
{{- define "celery-exporter.probeHandler" -}}
{{- $handler := .Values.probeHandler -}}
{{- if eq $handler "auto" }}{{ $handler = empty (include "celery-exporter.clientCertificates" .) | ternary "http" "exec" }}{{ end -}}
{{- if eq $handler "exec" -}}
exec:
  command: [celery-exporter, healthcheck]
{{- else -}}
httpGet:
  path: /-/healthy
  port: http
  scheme: {{ empty (include "celery-exporter.https" .) | ternary "HTTP" "HTTPS" }}
{{- end -}}
{{- end -}}

{{- define "celery-exporter.telemetryPath" -}}
{{- default "/metrics" (index . "web.telemetry-path") -}}
{{- end -}}

{{/*
The pod of one broker: its environment, files, probes and containers. All take root and broker, an item of
"celery-exporter.brokers".
*/}}

{{/*
Settings are given as environment variables, not as arguments: so they hold for `celery-exporter doctor` and
`celery-exporter healthcheck` in the same container too.
*/}}
{{- define "celery-exporter.env" -}}
{{- $broker := .broker -}}
{{- $existing := $broker.existingSecret -}}
{{- $env := list (dict "name" "CELERY_EXPORTER_WEB_LISTEN_ADDRESS" "value" (printf ":%d" (int .root.Values.containerPort))) -}}
{{- if not $broker.fromSecret -}}
{{- else if $broker.asFile -}}
{{- $env = append $env (dict "name" "CELERY_EXPORTER_BROKER_URL_FILE" "value" "/etc/celery-exporter/broker/url") -}}
{{- else -}}
{{- $env = append $env (include "celery-exporter.secretEnv" (list "BROKER_URL" $broker.urlSecret (include "celery-exporter.urlKey" $broker)) | fromJson) -}}
{{- end -}}
{{- if $broker.managementUrl -}}
{{- $env = append $env (include "celery-exporter.secretEnv" (list "MANAGEMENT_URL" $broker.secret "management-url") | fromJson) -}}
{{- else if $existing.managementUrlKey -}}
{{- $env = append $env (include "celery-exporter.secretEnv" (list "MANAGEMENT_URL" $broker.existing $existing.managementUrlKey) | fromJson) -}}
{{- end -}}
{{- if $broker.transportOptions -}}
{{- $env = append $env (include "celery-exporter.secretEnv" (list "BROKER_TRANSPORT_OPTION" $broker.secret "transport-options") | fromJson) -}}
{{- else if $existing.transportOptionsKey -}}
{{- $env = append $env (include "celery-exporter.secretEnv" (list "BROKER_TRANSPORT_OPTION" $broker.existing $existing.transportOptionsKey) | fromJson) -}}
{{- end -}}
{{- if $existing.transportOptionsFileKey -}}
{{- $env = append $env (dict "name" "CELERY_EXPORTER_BROKER_TRANSPORT_OPTIONS_FILE" "value" "/etc/celery-exporter/broker-options/options.yaml") -}}
{{- end -}}
{{- range $file := include "celery-exporter.brokerTlsFiles" $broker | fromJsonArray -}}
{{- $env = append $env (dict "name" $file.variable "value" (printf "/etc/celery-exporter/broker-tls/%s" $file.key)) -}}
{{- end -}}
{{- with $broker.tls.serverName -}}
{{- $env = append $env (dict "name" "CELERY_EXPORTER_BROKER_TLS_SERVER_NAME" "value" .) -}}
{{- end -}}
{{- if not $broker.tls.verify -}}
{{- $env = append $env (dict "name" "CELERY_EXPORTER_BROKER_TLS_VERIFY" "value" "false") -}}
{{- end -}}
{{- if include "celery-exporter.webConfigSecret" .root -}}
{{- $env = append $env (dict "name" "CELERY_EXPORTER_WEB_CONFIG_FILE" "value" "/etc/celery-exporter/web-config/web.yaml") -}}
{{- end -}}
{{- range $option, $value := $broker.config -}}
{{- $variable := printf "CELERY_EXPORTER_%s" ($option | replace "-" "_" | replace "." "_" | upper) -}}
{{- $env = append $env (dict "name" $variable "value" (include "celery-exporter.optionText" (list $option $value))) -}}
{{- end -}}
{{- $names := dict -}}
{{- range $env }}{{ $_ := set $names .name true }}{{ end -}}
{{- with $broker.extraEnv -}}
{{- range $own := tpl (toYaml .) $.root | fromYamlArray -}}
{{- /* Kubernetes would take either, or refuse both (server-side apply). */ -}}
{{- if hasKey $names $own.name }}{{ fail (printf "extraEnv sets %s, which is set already: by another value of the chart or twice" $own.name) }}{{ end -}}
{{- $_ := set $names $own.name true -}}
{{- $env = append $env $own -}}
{{- end -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{- define "celery-exporter.secretEnv" -}}
{{- $key := dict "name" (index . 1) "key" (index . 2) -}}
{{- dict "name" (printf "CELERY_EXPORTER_%s" (first .)) "valueFrom" (dict "secretKeyRef" $key) | toJson -}}
{{- end -}}

{{/* The key of the broker URL: of the chart's own Secret, or of the given one. Takes a broker. */}}
{{- define "celery-exporter.urlKey" -}}
{{- empty .url | ternary .existingSecret.urlKey "broker-url" -}}
{{- end -}}

{{/* An option's value as its variable takes it. Numbers through JSON, for Helm would write 2000000 as 2e+06. */}}
{{- define "celery-exporter.optionText" -}}
{{- $value := index . 1 -}}
{{- if kindIs "slice" $value -}}
{{- $words := list -}}
{{- range $value }}{{ $words = append $words (kindIs "string" . | ternary . (toJson .)) }}{{ end -}}
{{- if hasSuffix "-buckets" (first .) -}}
{{- join "," $words -}}
{{- else -}}
{{- /* Words, unless one would be read as several: the exporter takes a JSON list too. */ -}}
{{- regexMatch "[][\\s,\"{}]" (join "" $words) | ternary (toJson $words) (join " " $words) -}}
{{- end -}}
{{- else -}}
{{- kindIs "string" $value | ternary $value (toJson $value) -}}
{{- end -}}
{{- end -}}

{{/* The files for TLS to the broker: variable, key, and kind of where the key is (secret or configMap). Takes a broker. */}}
{{- define "celery-exporter.brokerTlsFiles" -}}
{{- $tls := .tls -}}
{{- $files := list -}}
{{- if and $tls.caKey (or $tls.secretName $tls.configMapName) -}}
{{- $files = append $files (dict "variable" "CELERY_EXPORTER_BROKER_TLS_CA_FILE" "key" $tls.caKey "kind" (empty $tls.configMapName | ternary "secret" "configMap")) -}}
{{- end -}}
{{- if $tls.secretName -}}
{{- range $variable, $key := dict "CELERY_EXPORTER_BROKER_TLS_CERT_FILE" $tls.certKey "CELERY_EXPORTER_BROKER_TLS_KEY_FILE" $tls.keyKey -}}
{{- if $key }}{{ $files = append $files (dict "variable" $variable "key" $key "kind" "secret") }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{/* Mode 0440 is 288: the group is podSecurityContext.fsGroup, and others need not read. */}}
{{- define "celery-exporter.volumes" -}}
{{- $broker := .broker -}}
{{- $volumes := list -}}
{{- if and $broker.fromSecret $broker.asFile -}}
{{- $item := dict "key" (include "celery-exporter.urlKey" $broker) "path" "url" -}}
{{- $volumes = append $volumes (dict "name" "broker" "secret" (dict "secretName" $broker.urlSecret "defaultMode" 288 "items" (list $item))) -}}
{{- end -}}
{{- with $broker.existingSecret.transportOptionsFileKey -}}
{{- $item := dict "key" . "path" "options.yaml" -}}
{{- $volumes = append $volumes (dict "name" "broker-options" "secret" (dict "secretName" $broker.existing "defaultMode" 288 "items" (list $item))) -}}
{{- end -}}
{{- with include "celery-exporter.brokerTlsFiles" $broker | fromJsonArray -}}
{{- $sources := list -}}
{{- range . -}}
{{- $name := eq .kind "secret" | ternary $broker.tls.secretName $broker.tls.configMapName -}}
{{- $sources = append $sources (dict .kind (dict "name" $name "items" (list (dict "key" .key "path" .key)))) -}}
{{- end -}}
{{- $volumes = append $volumes (dict "name" "broker-tls" "projected" (dict "defaultMode" 288 "sources" $sources)) -}}
{{- end -}}
{{- with include "celery-exporter.webConfigVolume" .root -}}
{{- $volumes = concat $volumes (fromYamlArray .) -}}
{{- end -}}
{{- with .root.Values.webConfig.certificateSecret -}}
{{- $volumes = append $volumes (dict "name" "web-tls" "secret" (dict "secretName" (tpl . $.root) "defaultMode" 288)) -}}
{{- end -}}
{{- with .root.Values.volumes -}}
{{- $volumes = concat $volumes (tpl (toYaml .) $.root | fromYamlArray) -}}
{{- end -}}
{{- with $volumes }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* Our own volumes are mounted whole, never by subPath: so a renewed certificate arrives. */}}
{{- define "celery-exporter.volumeMounts" -}}
{{- $mounts := list -}}
{{- range (include "celery-exporter.volumes" . | fromYamlArray) -}}
{{- if has .name (list "broker" "broker-options" "broker-tls" "web-config" "web-tls") -}}
{{- $mounts = append $mounts (dict "name" .name "mountPath" (printf "/etc/celery-exporter/%s" .name) "readOnly" true) -}}
{{- end -}}
{{- end -}}
{{- with concat $mounts .root.Values.volumeMounts }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* Annotations that roll the pods when a Secret of the chart changes; one of yours cannot be seen. */}}
{{- define "celery-exporter.checksums" -}}
{{- $sums := dict -}}
{{- with include "celery-exporter.secretData" . }}{{ $_ := set $sums "checksum/broker" (sha256sum .) }}{{ end -}}
{{- with include "celery-exporter.webConfig" .root }}{{ $_ := set $sums "checksum/web-config" (sha256sum .) }}{{ end -}}
{{- toYaml $sums -}}
{{- end -}}

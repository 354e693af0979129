{{/*
What is watched: one broker, or each of a list. Owns how an item of `brokers` and `broker` become one, the Secret with
what is secret about a broker, and the complaints about values that contradict each other.
*/}}

{{/*
`items`, one for each broker, none without the exporter: the fields of values.broker, with name (empty for the only one), object (name of its
Deployment, Service ...), secret (name of the Secret that the chart makes), urlSecret (name of the one with the URL),
and its config, resources, extraArgs, extraEnv and envFrom, those of all included.
*/}}
{{- define "celery-exporter.brokers" -}}
{{- $root := . -}}
{{- $items := list -}}
{{- $seen := dict -}}
{{- if and .Values.brokers .Values.broker.url }}{{ fail "broker.url and brokers exclude each other: give each item of brokers its url or existingSecret" }}{{ end -}}
{{- range .Values.exporter.enabled | ternary (default (list dict) .Values.brokers) list -}}
  {{- $item := include "celery-exporter.overlaid" (list $root.Values.broker (omit . "config" "resources" "extraArgs" "extraEnv" "envFrom")) | fromJson -}}
  {{- $name := default "" .name -}}
  {{- if and .url (not (default dict .existingSecret).name) -}}
    {{- /* Its own url beats the Secret that all others share. */ -}}
    {{- $_ := set $item "existingSecret" (dict "name" "" "urlKey" "" "managementUrlKey" "" "transportOptionsKey" "" "transportOptionsFileKey" "") -}}
  {{- end -}}
  {{- if hasKey (default dict .config) "web.telemetry-path" }}{{ fail (printf "broker %s has web.telemetry-path: set it in config for all, so that one scrape configuration fits" $name) }}{{ end -}}
  {{- if hasKey $seen $name }}{{ fail (printf "brokers has two items with the name %s" $name) }}{{ end -}}
  {{- $_ := set $seen $name true -}}
  {{- $object := include "celery-exporter.named" (dict "root" $root "suffix" $name) -}}
  {{- $_ := set $item "name" $name -}}
  {{- $_ := set $item "object" $object -}}
  {{- $_ := set $item "secret" $object -}}
  {{- $existing := tpl $item.existingSecret.name $root -}}
  {{- $_ := set $item "existing" $existing -}}
  {{- $fallback := include "celery-exporter.named" (dict "root" $root "suffix" (empty $name | ternary "broker" (printf "%s-broker" $name))) -}}
  {{- $_ := set $item "urlSecret" (empty $item.url | ternary (default $fallback $existing) $object) -}}
  {{- $_ := set $item "config" (include "celery-exporter.overlaid" (list $root.Values.config (default dict .config)) | fromJson) -}}
  {{- $_ := set $item "resources" (include "celery-exporter.overlaid" (list $root.Values.resources (default dict .resources)) | fromJson) -}}
  {{- $_ := set $item "extraArgs" (concat $root.Values.extraArgs (default list .extraArgs)) -}}
  {{- $_ := set $item "extraEnv" (concat $root.Values.extraEnv (default list .extraEnv)) -}}
  {{- $_ := set $item "envFrom" (concat $root.Values.envFrom (default list .envFrom)) -}}
  {{- include "celery-exporter.checkBroker" $item -}}
  {{- $items = append $items $item -}}
{{- end -}}
{{- dict "items" $items | toJson -}}
{{- end -}}

{{/* One map laid over another, down to what is no map: unlike mergeOverwrite, false, 0 and "" count too. */}}
{{- define "celery-exporter.overlaid" -}}
{{- $result := deepCopy (first .) -}}
{{- range $key, $value := last . -}}
  {{- $below := get $result $key -}}
  {{- if and (kindIs "map" $value) (kindIs "map" $below) -}}
    {{- $value = include "celery-exporter.overlaid" (list $below $value) | fromJson -}}
  {{- end -}}
  {{- $_ := set $result $key $value -}}
{{- end -}}
{{- toJson $result -}}
{{- end -}}

{{- define "celery-exporter.checkBroker" -}}
{{- $where := empty .name | ternary "broker" (printf "broker %s" .name) -}}
{{- if and .url .existing }}{{ fail (printf "%s has a url and an existingSecret: drop one of them" $where) }}{{ end -}}
{{- range .extraArgs -}}
{{- if or (regexMatch "://[^/@]*@" .) (regexMatch "^--(broker|management)-url(=|$)" .) -}}
{{- fail (printf "extraArgs of %s give a URL that may hold a password, and arguments are for all to see: use url, managementUrl or existingSecret" $where) -}}
{{- end -}}
{{- end -}}
{{- if and .url (not .fromSecret) }}{{ fail (printf "%s has a url, which fromSecret: false would not use: drop one of them" $where) }}{{ end -}}
{{- if and (or .existingSecret.managementUrlKey .existingSecret.transportOptionsKey .existingSecret.transportOptionsFileKey) (not .existing) -}}
{{- fail (printf "%s has a key of existingSecret, but no existingSecret.name" $where) -}}
{{- end -}}
{{- if and .managementUrl .existingSecret.managementUrlKey }}{{ fail (printf "%s has managementUrl and existingSecret.managementUrlKey: drop one of them" $where) }}{{ end -}}
{{- if and .transportOptions .existingSecret.transportOptionsKey }}{{ fail (printf "%s has transportOptions and existingSecret.transportOptionsKey: drop one of them" $where) }}{{ end -}}
{{- end -}}

{{/* What the chart's Secret for a broker holds, encoded; empty if there is nothing to hold. Takes root and broker. */}}
{{- define "celery-exporter.secretData" -}}
{{- with .broker.url }}
broker-url: {{ tpl . $.root | b64enc | quote }}
{{- end }}
{{- with .broker.managementUrl }}
management-url: {{ tpl . $.root | b64enc | quote }}
{{- end }}
{{- with .broker.transportOptions }}
transport-options: {{ toJson . | b64enc | quote }}
{{- end }}
{{- end -}}

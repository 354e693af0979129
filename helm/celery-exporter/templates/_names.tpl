{{/*
Names, labels and namespaces. A name of an object is at most 63 characters, the limit of a Service and of a label's
value; where something stands behind the full name, that is cut, so that brokers stay apart.
*/}}

{{- define "celery-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "celery-exporter.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if not (contains $name .Release.Name) -}}
{{- $name = printf "%s-%s" .Release.Name $name -}}
{{- else -}}
{{- $name = .Release.Name -}}
{{- end -}}
{{- $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The full name with something behind it. Takes root and suffix, which may be empty. */}}
{{- define "celery-exporter.named" -}}
{{- $name := include "celery-exporter.fullname" .root -}}
{{- with .suffix -}}
{{- $name = printf "%s-%s" ($name | trunc (int (sub 62 (len .))) | trimSuffix "-") . -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "celery-exporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* What selectors select by. Never to be changed: a Deployment's selector is immutable. */}}
{{- define "celery-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "celery-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: exporter
{{- end -}}

{{/* The same for one broker. Takes root and broker. */}}
{{- define "celery-exporter.brokerSelectorLabels" -}}
{{ include "celery-exporter.selectorLabels" .root }}
{{- with .broker.name }}
celery-exporter/broker: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* The labels of the pods of `helm test`. No selector of a Service or Deployment matches them. */}}
{{- define "celery-exporter.testLabels" -}}
app.kubernetes.io/name: {{ include "celery-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end -}}

{{/*
The metadata of an object. Takes root, and if wanted name, namespace, broker, component, labels (a list of maps, the
last wins, but never over ours) and annotations (likewise).
*/}}
{{- define "celery-exporter.metadata" -}}
{{- $own := dict
    "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
    "app.kubernetes.io/name" (include "celery-exporter.name" .root)
    "app.kubernetes.io/instance" .root.Release.Name
    "app.kubernetes.io/component" (default "exporter" .component)
    "app.kubernetes.io/version" (.root.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-")
    "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- with .broker }}{{ with .name }}{{ $_ := set $own "celery-exporter/broker" . }}{{ end }}{{ end -}}
name: {{ default (include "celery-exporter.fullname" .root) .name | quote }}
namespace: {{ default (include "celery-exporter.namespace" .root) .namespace | quote }}
labels:
  {{- include "celery-exporter.merged" (concat (list .root.Values.commonLabels) (default (list) .labels) (list $own)) | nindent 2 }}
{{- with include "celery-exporter.merged" (concat (list .root.Values.commonAnnotations) (default (list) .annotations)) }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Maps of text in one; the last wins. Empty for nothing. */}}
{{- define "celery-exporter.merged" -}}
{{- $merged := dict -}}
{{- range $map := . }}{{ range $key, $value := $map }}{{ $_ := set $merged $key (toString $value) }}{{ end }}{{ end -}}
{{- with $merged }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{- define "celery-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "celery-exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "celery-exporter.image" -}}
{{- $image := .Values.image -}}
{{- $name := $image.repository -}}
{{- with default $image.registry .Values.global.imageRegistry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Pull secrets; a name or a map with a name. Empty for none. */}}
{{- define "celery-exporter.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat .Values.imagePullSecrets .Values.global.imagePullSecrets -}}
{{- if kindIs "map" . }}{{ $names = append $names .name }}{{ else }}{{ $names = append $names . }}{{ end -}}
{{- end -}}
{{- range uniq $names }}
- name: {{ . }}
{{- end -}}
{{- end -}}

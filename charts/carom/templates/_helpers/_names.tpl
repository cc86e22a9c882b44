{{/* Start of all names: include "carom.fullname" . */}}
{{- define "carom.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- /* Leaves room for suffixes: names of pods of a StatefulSet and values of labels end at 63. */ -}}
{{- .Values.fullnameOverride | default $full | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Name of a component's objects: include "carom.name" (list . "intake") */}}
{{- define "carom.name" -}}
{{- printf "%s-%s" (include "carom.fullname" (index . 0)) (index . 1) -}}
{{- end }}

{{/* What the helm test listens on: include "carom.testHost" . */}}
{{- define "carom.testHost" -}}
{{- printf "%s.%s.svc" (include "carom.name" (list . "test")) .Release.Namespace -}}
{{- end }}

{{/* The ServiceAccount of a component: include "carom.serviceAccountName" (list . "intake") */}}
{{- define "carom.serviceAccountName" -}}
{{- $values := include "carom.values" . | fromYaml -}}
{{- $values.serviceAccount.name | default (include "carom.name" .) -}}
{{- end }}

{{/* Host that the test of `test.url` asks for: the first that ingress or httpRoute serves: include "carom.testedHost" . */}}
{{- define "carom.testedHost" -}}
{{- if .Values.test.url -}}
{{- concat (.Values.ingress.enabled | ternary .Values.ingress.hosts list) (.Values.httpRoute.enabled | ternary .Values.httpRoute.hostnames list) | first | default "" -}}
{{- end -}}
{{- end }}

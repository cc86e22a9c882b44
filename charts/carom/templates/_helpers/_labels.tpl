{{/* Labels that never change, for selectors: include "carom.selectorLabels" (list . "intake") */}}
{{- define "carom.selectorLabels" -}}
app.kubernetes.io/name: {{ (index . 0).Values.nameOverride | default (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of an object: include "carom.labels" (list . "intake") */}}
{{- define "carom.labels" -}}
{{- $root := index . 0 -}}
{{ include "carom.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: carom
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of a pod, without the chart's version, which would replace pods for nothing: include "carom.podLabels" (list . "intake") */}}
{{- define "carom.podLabels" -}}
{{- $root := index . 0 -}}
{{- $own := include "carom.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- merge $own (include "carom.values" . | fromYaml).podLabels $root.Values.commonLabels | toYaml -}}
{{- end }}

{{/* Metadata of an object, named after its component: include "carom.metadata" (list . "intake")
     More labels or annotations: include "carom.metadata" (list . "intake" (dict "labels" .. "annotations" ..)) */}}
{{- define "carom.metadata" -}}
{{- $more := dict -}}
{{- if gt (len .) 2 }}{{ $more = index . 2 }}{{ end -}}
name: {{ $more.name | default (include "carom.name" .) }}
namespace: {{ (index . 0).Release.Namespace }}
labels:
  {{- include "carom.labels" . | nindent 2 }}
  {{- with $more.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $more.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

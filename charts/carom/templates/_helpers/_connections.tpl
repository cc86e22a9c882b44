{{/* Secret and key of a broker user's URL, as YAML: include "carom.brokerSecret" (list . "executor") */}}
{{- define "carom.brokerSecret" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $user := index $root.Values.broker.users $name -}}
{{- if $user.existingSecret -}}
name: {{ $user.existingSecret }}
key: {{ $user.secretKey }}
{{- else if $user.url -}}
name: {{ include "carom.name" (list $root "broker") }}
key: {{ $name }}
{{- else if $root.Values.dependencies.dev.enabled -}}
name: {{ include "carom.name" (list $root "rabbitmq") }}
key: {{ eq $name "topology" | ternary "topology-url" "url" }}
{{- else if $root.Values.broker.existingSecret -}}
name: {{ $root.Values.broker.existingSecret }}
key: {{ $root.Values.broker.secretKey }}
{{- else -}}
name: {{ include "carom.name" (list $root "broker") }}
key: url
{{- end -}}
{{- end }}

{{/* Who connects to the broker, as a YAML list of keys of broker.users: include "carom.brokerUsers" . | fromYamlArray */}}
{{- define "carom.brokerUsers" -}}
{{- $users := list "intake" "executor" "callback" -}}
{{- if eq .Values.topology.declaredBy "init" -}}
{{- $users = prepend $users "topology" -}}
{{- end -}}
{{- if has "keda" (list .Values.executor.autoscaling.type .Values.callback.autoscaling.type) -}}
{{- $users = append $users "scaler" -}}
{{- end -}}
{{- toYaml $users -}}
{{- end }}

{{/* Secret and key of the store's URL, as YAML: include "carom.storeSecret" . */}}
{{- define "carom.storeSecret" -}}
{{- if .Values.dependencies.dev.enabled -}}
name: {{ include "carom.name" (list . "redis") }}
key: url
{{- else if .Values.store.existingSecret -}}
name: {{ .Values.store.existingSecret }}
key: {{ .Values.store.secretKey }}
{{- else -}}
name: {{ include "carom.name" (list . "store") }}
key: url
{{- end -}}
{{- end }}

{{/* URLs that the chart keeps for the broker, as YAML, empty if none: include "carom.brokerUrls" . */}}
{{- define "carom.brokerUrls" -}}
{{- with .Values.broker.url }}
url: {{ . | quote }}
{{- end }}
{{- range $name, $user := .Values.broker.users }}
{{- with $user.url }}
{{ $name }}: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Secret with the API keys, empty where callers need none: include "carom.keysSecret" . */}}
{{- define "carom.keysSecret" -}}
{{- if .Values.auth.enabled -}}
{{- .Values.auth.existingSecret | default (include "carom.name" (list . "keys")) -}}
{{- end -}}
{{- end }}

{{/* Secret and key that sign callbacks, as YAML, empty if none: include "carom.signingSecret" . */}}
{{- define "carom.signingSecret" -}}
{{- with .Values.callback.signing -}}
{{- if .existingSecret -}}
name: {{ .existingSecret }}
key: {{ .secretKey }}
{{- else if .secret -}}
name: {{ include "carom.name" (list $ "signing") }}
key: secret
{{- end -}}
{{- end -}}
{{- end }}

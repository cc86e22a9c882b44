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
{{- if .Values.fsck.enabled -}}
{{- $users = append $users "fsck" -}}
{{- end -}}
{{- if has "keda" (list .Values.executor.autoscaling.type .Values.callback.autoscaling.type) -}}
{{- $users = append $users "scaler" -}}
{{- end -}}
{{- toYaml $users -}}
{{- end }}

{{/* Secret and key of a store user's URL, as YAML: include "carom.storeSecret" (list . "executor") */}}
{{- define "carom.storeSecret" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $user := index $root.Values.store.users $name -}}
{{- if $user.existingSecret -}}
name: {{ $user.existingSecret }}
key: {{ $user.secretKey }}
{{- else if $user.url -}}
name: {{ include "carom.name" (list $root "store") }}
key: {{ $name }}
{{- else if $root.Values.dependencies.dev.enabled -}}
name: {{ include "carom.name" (list $root "redis") }}
key: url
{{- else if $root.Values.store.existingSecret -}}
name: {{ $root.Values.store.existingSecret }}
key: {{ $root.Values.store.secretKey }}
{{- else -}}
name: {{ include "carom.name" (list $root "store") }}
key: url
{{- end -}}
{{- end }}

{{/* URLs that the chart keeps for the broker, as YAML, empty if none: include "carom.brokerUrls" . */}}
{{- define "carom.brokerUrls" -}}
{{- include "carom.urls" .Values.broker -}}
{{- end }}

{{/* URLs that the chart keeps for the store, as YAML, empty if none: include "carom.storeUrls" . */}}
{{- define "carom.storeUrls" -}}
{{- include "carom.urls" .Values.store -}}
{{- end }}

{{/* URLs for all and for single users, as YAML, empty if none: include "carom.urls" .Values.broker */}}
{{- define "carom.urls" -}}
{{- with .url }}
url: {{ . | quote }}
{{- end }}
{{- range $name, $user := .users }}
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

{{/* Secret and key of what encrypts at rest, as YAML, empty if nothing does: include "carom.encryptionSecret" . */}}
{{- define "carom.encryptionSecret" -}}
{{- with .Values.encryption -}}
{{- if .existingSecret -}}
name: {{ .existingSecret }}
key: {{ .secretKey }}
{{- else if .keys -}}
name: {{ include "carom.name" (list $ "encryption") }}
key: keys
{{- end -}}
{{- end -}}
{{- end }}

{{/* Secret with the file of signing keys of a component, empty if none: include "carom.signingFileSecret" (list . "intake") */}}
{{- define "carom.signingFileSecret" -}}
{{- $signing := (index . 0).Values.signing -}}
{{- eq (index . 1) "intake" | ternary ($signing.publicSecret | default $signing.existingSecret) $signing.existingSecret -}}
{{- end }}

{{/* Variables that name the files of TLS to a server, as YAML: include "carom.tlsFiles" (list . "broker") | fromYaml */}}
{{- define "carom.tlsFiles" -}}
{{- $part := index . 1 -}}
{{- $tls := (index (index . 0).Values $part).tls -}}
{{- $directory := printf "/etc/carom/%s" $part -}}
{{- $name := printf "CAROM_%s" (upper $part) -}}
{{ $name }}_CA_FILE: {{ $tls.caSecret | empty | ternary "" (printf "%s-ca/ca.crt" $directory) | quote }}
{{ $name }}_CERT_FILE: {{ $tls.clientSecret | empty | ternary "" (printf "%s-client/tls.crt" $directory) | quote }}
{{ $name }}_KEY_FILE: {{ $tls.clientSecret | empty | ternary "" (printf "%s-client/tls.key" $directory) | quote }}
{{- end }}

{{/* Volumes of TLS to a server: include "carom.tlsVolumes" (list . "broker") | fromYamlArray */}}
{{- define "carom.tlsVolumes" -}}
{{- $part := index . 1 -}}
{{- $tls := (index (index . 0).Values $part).tls -}}
{{- $volumes := list -}}
{{- with $tls.caSecret -}}
{{- $file := dict "key" $tls.caKey "path" "ca.crt" -}}
{{- $volumes = append $volumes (dict "name" (printf "%s-ca" $part) "secret" (dict "secretName" . "items" (list $file))) -}}
{{- end -}}
{{- with $tls.clientSecret -}}
{{- $files := list (dict "key" "tls.crt" "path" "tls.crt") (dict "key" "tls.key" "path" "tls.key") -}}
{{- $secret := dict "secretName" . "items" $files "defaultMode" 288 -}}
{{- $volumes = append $volumes (dict "name" (printf "%s-client" $part) "secret" $secret) -}}
{{- end -}}
{{- toYaml $volumes -}}
{{- end }}

{{/* Where they are mounted, as directories, so that renewed files arrive: include "carom.tlsMounts" (list . "broker") | fromYamlArray */}}
{{- define "carom.tlsMounts" -}}
{{- $mounts := list -}}
{{- range include "carom.tlsVolumes" . | fromYamlArray -}}
{{- $mounts = append $mounts (dict "name" .name "mountPath" (printf "/etc/carom/%s" .name) "readOnly" true) -}}
{{- end -}}
{{- toYaml $mounts -}}
{{- end }}

{{/* Settings of a component as environment variables; ConfigMap and checksum are made of it: include "carom.config" (list . "intake") */}}
{{- define "carom.config" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := include "carom.values" . | fromYaml -}}
CAROM_DECLARE_TOPOLOGY: {{ eq $root.Values.topology.declaredBy "services" | quote }}
{{- range $part := list "broker" "store" }}
{{- range $name, $file := include "carom.tlsFiles" (list $root $part) | fromYaml }}
{{ $name }}: {{ $file | quote }}
{{- end }}
{{- end }}
{{- with include "carom.signingFileSecret" . }}
CAROM_SIGNING_FILE: /etc/carom/signing/signing.json
{{- end }}
CAROM_SHUTDOWN_TIMEOUT: {{ include "carom.scalar" $values.shutdown.drainSeconds | quote }}
{{- range $key, $value := merge (dict) $values.config $root.Values.config }}
CAROM_{{ $key | snakecase | upper }}: {{ include "carom.scalar" $value | quote }}
{{- end }}
{{- with $root.Values.tracing }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ .endpoint | quote }}
OTEL_TRACES_SAMPLER: {{ .sampler | quote }}
OTEL_TRACES_SAMPLER_ARG: {{ include "carom.scalar" .ratio | quote }}
OTEL_BSP_MAX_QUEUE_SIZE: {{ include "carom.scalar" .queueSize | quote }}
CAROM_TRACE_ERRORS: {{ .errors | quote }}
{{- end }}
CAROM_EGRESS_SCHEMES: {{ join "," $root.Values.egress.schemes | quote }}
CAROM_EGRESS_PORTS: {{ join "," $root.Values.egress.ports | quote }}
CAROM_EGRESS_BLOCKED_PORTS: {{ join "," $root.Values.egress.blockedPorts | quote }}
CAROM_EGRESS_RULES: {{ $root.Values.egress.rules | empty | ternary "" ($root.Values.egress.rules | toJson) | quote }}
{{- if eq $component "intake" }}
CAROM_AUTH: {{ $root.Values.auth.enabled | ternary "keys" "off" | quote }}
{{- if $root.Values.auth.enabled }}
CAROM_KEYS_FILE: {{ include "carom.keysDirectory" . }}/keys.json
{{- end }}
{{- else }}
{{- $allow := $root.Values.test.enabled | ternary (append $root.Values.egress.allow (include "carom.testHost" $root)) $root.Values.egress.allow }}
CAROM_EGRESS_ALLOW: {{ join "," $allow | quote }}
CAROM_EGRESS_DENY: {{ join "," $root.Values.egress.deny | quote }}
{{- if not $root.Values.egress.proxy.existingSecret }}
CAROM_EGRESS_PROXY: {{ $root.Values.egress.proxy.url | quote }}
{{- end }}
CAROM_EGRESS_TLS: {{ include "carom.egressTls" $root | quote }}
{{- end }}
{{- end }}

{{/* A component's ConfigMap: include "carom.configmap" (list . "intake") */}}
{{- define "carom.configmap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "carom.metadata" . | nindent 2 }}
data:
  {{- include "carom.config" . | nindent 2 }}
{{- end }}

{{/* URLs and secrets of a component as variables: include "carom.secretEnv" (list . "intake") */}}
{{- define "carom.secretEnv" -}}
- name: RABBITMQ_URL
  valueFrom:
    secretKeyRef:
      {{- include "carom.brokerSecret" . | nindent 6 }}
- name: REDIS_URL
  valueFrom:
    secretKeyRef:
      {{- include "carom.storeSecret" . | nindent 6 }}
{{- if ne (index . 1) "intake" }}
{{- $proxy := (index . 0).Values.egress.proxy }}
{{- if $proxy.existingSecret }}
- name: CAROM_EGRESS_PROXY
  valueFrom:
    secretKeyRef:
      name: {{ $proxy.existingSecret }}
      key: {{ $proxy.secretKey }}
{{- end }}
{{- end }}
{{- with (index . 0).Values.tracing }}
{{- if and .endpoint .headersSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .headersSecret }}
      key: {{ .headersKey }}
{{- end }}
{{- end }}
{{- with include "carom.encryptionSecret" (index . 0) }}
- name: CAROM_ENCRYPTION_KEYS
  valueFrom:
    secretKeyRef:
      {{- . | nindent 6 }}
{{- end }}
{{- if ne (index . 1) "intake" }}
{{- with include "carom.signingSecret" (index . 0) }}
- name: CAROM_CALLBACK_SECRET
  valueFrom:
    secretKeyRef:
      {{- . | nindent 6 }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where the API keys are mounted: include "carom.keysDirectory" . */}}
{{- define "carom.keysDirectory" -}}
/etc/carom/keys
{{- end }}

{{/* Changes whenever a pod must be replaced to see its settings: include "carom.checksums" (list . "intake") */}}
{{- define "carom.checksums" -}}
{{- $values := (index . 0).Values -}}
checksum/config: {{ include "carom.config" . | sha256sum }}
checksum/secrets: {{ list (include "carom.brokerUrls" (index . 0)) (include "carom.storeUrls" (index . 0)) $values.callback.signing.secret $values.encryption.keys | toJson | sha256sum }}
{{- end }}

{{/* A password that stays the same from upgrade to upgrade: include "carom.keptPassword" (list . "redis" "password") */}}
{{- define "carom.keptPassword" -}}
{{- $root := index . 0 -}}
{{- $secret := lookup "v1" "Secret" $root.Release.Namespace (include "carom.name" .) | default dict -}}
{{- $kept := get ($secret.data | default dict) (index . 2) -}}
{{- if $kept }}{{ b64dec $kept }}{{ else }}{{ randAlphaNum 32 }}{{ end -}}
{{- end }}

{{/* Pod security context of a database, whose image runs as 999: include "carom.databaseSecurity" . */}}
{{- define "carom.databaseSecurity" -}}
runAsNonRoot: true
runAsUser: 999
runAsGroup: 999
fsGroup: 999
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Claim for a database's data: include "carom.dataClaim" .Values.dependencies.redis */}}
{{- define "carom.dataClaim" -}}
- metadata: {name: data}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .storageClassName }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests: {storage: {{ .storage }}}
{{- end }}

{{/* NetworkPolicy of a database: this release alone, and no way out. More peers may follow as YAML, and the port of its
     metrics: include "carom.databaseNetworkPolicy" (list . "redis" 6379 (list "intake" "executor") "" 9121) */}}
{{- define "carom.databaseNetworkPolicy" -}}
{{- $root := index . 0 -}}
{{- include "carom.networkPolicyHead" (list $root (index . 1)) }}
  ingress:
    - from:
        {{- range index . 3 }}
        {{- include "carom.componentPeer" (list $root .) | nindent 8 }}
        {{- end }}
        {{- with index . 4 }}
        {{- . | nindent 8 }}
        {{- end }}
      ports:
        - {protocol: TCP, port: {{ index . 2 }}}
    {{- $metrics := index . 5 }}
    {{- if and $metrics $root.Values.networkPolicy.monitoring.namespaces }}
    - from:
        {{- include "carom.namespacePeers" $root.Values.networkPolicy.monitoring.namespaces | nindent 8 }}
      ports:
        - {protocol: TCP, port: {{ $metrics }}}
    {{- end }}
  egress: []
{{- end }}

{{/* ServiceMonitor of a database, for these pages of its exporter:
     include "carom.databaseMonitor" (list . "redis" (list (dict "path" "/metrics"))) */}}
{{- define "carom.databaseMonitor" -}}
{{- $monitor := (index . 0).Values.monitoring.serviceMonitor -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "carom.metadata" (list (index . 0) (index . 1) (dict "labels" $monitor.labels)) | nindent 2 }}
spec:
  selector:
    matchLabels:
      {{- include "carom.selectorLabels" (list (index . 0) (index . 1)) | nindent 6 }}
  endpoints:
    {{- range index . 2 }}
    - {{ merge (dict "port" "prometheus" "interval" $monitor.interval) . | toYaml | nindent 6 | trim }}
    {{- end }}
{{- end }}

{{/* Configuration of the RabbitMQ for trying out: include "carom.rabbitmqConf" . */}}
{{- define "carom.rabbitmqConf" -}}
load_definitions = /etc/carom/definitions.json
# Small enough for the pod's memory: quorum queues keep as much as their log may grow.
raft.wal_max_size_bytes = 67108864
consumer_timeout = {{ mulf .Values.config.consumerTimeout 1000 | int64 }}
{{- end }}

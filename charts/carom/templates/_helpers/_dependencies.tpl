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

{{/* NetworkPolicy of a database: this release alone, and no way out. More peers may follow as YAML:
     include "carom.databaseNetworkPolicy" (list . "redis" 6379 (list "intake" "executor")) */}}
{{- define "carom.databaseNetworkPolicy" -}}
{{- $root := index . 0 -}}
{{- include "carom.networkPolicyHead" (list $root (index . 1)) }}
  ingress:
    - from:
        {{- range index . 3 }}
        {{- include "carom.componentPeer" (list $root .) | nindent 8 }}
        {{- end }}
        {{- if gt (len .) 4 }}
        {{- index . 4 | nindent 8 }}
        {{- end }}
      ports:
        - {protocol: TCP, port: {{ index . 2 }}}
  egress: []
{{- end }}

{{/* Configuration of the RabbitMQ for trying out: include "carom.rabbitmqConf" . */}}
{{- define "carom.rabbitmqConf" -}}
load_definitions = /etc/carom/definitions.json
# Small enough for the pod's memory: quorum queues keep as much as their log may grow.
raft.wal_max_size_bytes = 67108864
consumer_timeout = {{ mulf .Values.config.consumerTimeout 1000 | int64 }}
{{- end }}

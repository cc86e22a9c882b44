{{/* Whether an upgrade declares the topology first. The RabbitMQ of dependencies.dev must be there already, or the upgrade
     would wait for what it is to bring: include "carom.upgradeJob" . */}}
{{- define "carom.upgradeJob" -}}
{{- if and .Values.topology.upgradeJob.enabled (eq .Values.topology.declaredBy "init") -}}
{{- if or (not .Values.dependencies.dev.enabled) (lookup "apps/v1" "StatefulSet" .Release.Namespace (include "carom.name" (list . "rabbitmq"))) -}}
true
{{- end -}}
{{- end -}}
{{- end }}

{{/* Metadata of what the job needs. The job runs before the upgrade, so all of it is hooks too: include "carom.hookMetadata" (list . -10) */}}
{{- define "carom.hookMetadata" -}}
{{- $hook := dict
  "helm.sh/hook" "pre-upgrade"
  "helm.sh/hook-weight" (index . 1 | toString)
  "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" -}}
{{- include "carom.metadata" (list (index . 0) "topology" (dict "annotations" $hook)) -}}
{{- end }}

{{/* The topology user's URL where the chart keeps it, else empty: include "carom.topologyUrl" . */}}
{{- define "carom.topologyUrl" -}}
{{- $user := .Values.broker.users.topology -}}
{{- if not $user.existingSecret -}}
{{- $user.url | default .Values.broker.url -}}
{{- end -}}
{{- end }}

{{/* Secret and key of the job's URL, as YAML. The release's own Secret is older than the upgrade, so the job has a copy:
     include "carom.jobSecret" . */}}
{{- define "carom.jobSecret" -}}
{{- if include "carom.topologyUrl" . -}}
name: {{ include "carom.name" (list . "topology") }}
key: url
{{- else -}}
{{- include "carom.brokerSecret" (list . "topology") -}}
{{- end -}}
{{- end }}

{{/* The Service of a component's admin port, for metrics: include "carom.adminService" (list . "executor") */}}
{{- define "carom.adminService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- $name := printf "%s-admin" (include "carom.name" .) }}
  {{- include "carom.metadata" (append . (dict "name" $name "labels" (dict "carom/port" "admin"))) | nindent 2 }}
spec:
  clusterIP: None
  ports:
    - {name: admin, port: {{ (index . 0).Values.config.adminPort }}, targetPort: admin}
  selector:
    {{- include "carom.selectorLabels" . | nindent 4 }}
{{- end }}

{{/* A component's ServiceAccount, which has no right and no token: include "carom.serviceaccount" (list . "intake") */}}
{{- define "carom.serviceaccount" -}}
{{- $account := (include "carom.values" . | fromYaml).serviceAccount -}}
{{- if not $account.name -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "carom.metadata" (append . (dict "annotations" $account.annotations)) | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}
{{- end }}

{{/* A component's ServiceMonitor: include "carom.servicemonitor" (list . "intake") */}}
{{- define "carom.servicemonitor" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.monitoring.serviceMonitor -}}
{{- if .enabled -}}
{{- include "carom.requireApi" (list $root "monitoring.coreos.com/v1" "ServiceMonitor" "monitoring.serviceMonitor.enabled is true" "prometheus-operator") -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "carom.metadata" (append $ (dict "labels" .labels)) | nindent 2 }}
spec:
  selector:
    matchLabels:
      {{- include "carom.selectorLabels" $ | nindent 6 }}
      carom/port: admin
  endpoints:
    - port: admin
      path: /metrics
      interval: {{ .interval }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A component's PodDisruptionBudget, once it can have more than one pod: include "carom.pdb" (list . "intake") */}}
{{- define "carom.pdb" -}}
{{- $pdb := (include "carom.values" . | fromYaml).pdb -}}
{{- if and $pdb.enabled (gt (include "carom.mostPods" . | int) 1) -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "carom.metadata" . | nindent 2 }}
spec:
  {{- if ne (toString $pdb.minAvailable) "" }}
  minAvailable: {{ $pdb.minAvailable }}
  {{- else }}
  maxUnavailable: {{ ne (toString $pdb.maxUnavailable) "" | ternary $pdb.maxUnavailable 1 }}
  {{- end }}
  # A pod that is broken anyway must not hold up a drain.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "carom.selectorLabels" . | nindent 6 }}
{{- end -}}
{{- end }}

{{/* A component's HorizontalPodAutoscaler on CPU: include "carom.hpa" (list . "intake") */}}
{{- define "carom.hpa" -}}
{{- $scaling := (include "carom.values" . | fromYaml).autoscaling -}}
{{- if eq $scaling.type "hpa" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "carom.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "carom.name" . }}}
  minReplicas: {{ $scaling.minReplicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ $scaling.targetCPU }}}
  {{- with $scaling.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end }}

{{/* A consumer's ScaledObject on the length of its queues: include "carom.scaledobject" (list . "executor" (list "carom.execute.normal")) */}}
{{- define "carom.scaledobject" -}}
{{- $scaling := (include "carom.values" . | fromYaml).autoscaling -}}
{{- if eq $scaling.type "keda" -}}
{{- $component := index . 1 -}}
{{- include "carom.requireApi" (list (index . 0) "keda.sh/v1alpha1" "ScaledObject" (printf "%s.autoscaling.type is keda" $component) "KEDA") -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "carom.metadata" (list (index . 0) $component) | nindent 2 }}
spec:
  scaleTargetRef: {name: {{ include "carom.name" . }}}
  pollingInterval: {{ $scaling.pollingInterval }}
  minReplicaCount: {{ $scaling.minReplicas }}
  maxReplicaCount: {{ $scaling.maxReplicas }}
  {{- with $scaling.behavior }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        {{- toYaml . | nindent 8 }}
  {{- end }}
  triggers:
    {{- range index . 2 }}
    - type: rabbitmq
      authenticationRef: {name: {{ include "carom.name" $ }}}
      metadata:
        protocol: auto
        queueName: {{ . }}
        mode: QueueLength
        value: {{ $scaling.queueLength | quote }}
    {{- end }}
{{- end -}}
{{- end }}

{{/* How KEDA reaches the broker for a consumer: include "carom.triggerauthentication" (list . "executor") */}}
{{- define "carom.triggerauthentication" -}}
{{- if eq (include "carom.values" . | fromYaml).autoscaling.type "keda" -}}
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata:
  {{- include "carom.metadata" . | nindent 2 }}
spec:
  secretTargetRef:
    - parameter: host
      {{- include "carom.brokerSecret" (list (index . 0) "scaler") | nindent 6 }}
{{- end -}}
{{- end }}

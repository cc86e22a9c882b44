{{/* A component's Deployment: include "carom.deployment" (list . "intake") */}}
{{- define "carom.deployment" -}}
{{- $values := include "carom.values" . | fromYaml -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "carom.metadata" . | nindent 2 }}
spec:
  {{- if eq $values.autoscaling.type "none" }}
  replicas: {{ $values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    type: RollingUpdate
    {{- toYaml $values.strategy | nindent 4 }}
  selector:
    matchLabels:
      {{- include "carom.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "carom.podLabels" . | nindent 8 }}
      annotations:
        {{- include "carom.checksums" . | nindent 8 }}
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "carom.pod" . | nindent 6 }}
{{- end }}

{{/* A component's pod: include "carom.pod" (list . "intake") */}}
{{- define "carom.pod" -}}
{{- $root := index . 0 -}}
{{- $values := include "carom.values" . | fromYaml -}}
serviceAccountName: {{ include "carom.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with include "carom.pullSecrets" $root }}
{{ . }}
{{- end }}
securityContext:
  {{- toYaml $values.podSecurityContext | nindent 2 }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
# {{ $values.shutdown.preStopSleepSeconds }} s of preStop and {{ $values.shutdown.drainSeconds }} s of drain fit into it.
terminationGracePeriodSeconds: {{ include "carom.gracePeriod" $values.shutdown }}
{{- if eq $root.Values.topology.declaredBy "init" }}
initContainers:
  - {{ include "carom.declareTopology" (append . (include "carom.brokerSecret" (list $root "topology"))) | nindent 4 | trim }}
{{- end }}
containers:
  - {{ include "carom.container" . | nindent 4 | trim }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ include "carom.spread" (list . $) | nindent 4 | trim }}
  {{- end }}
{{- end }}
{{- with include "carom.volumes" . | fromYamlArray }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A component's volumes: include "carom.volumes" (list . "intake") | fromYamlArray */}}
{{- define "carom.volumes" -}}
{{- $volumes := (include "carom.values" . | fromYaml).extraVolumes -}}
{{- range $part := list "broker" "store" -}}
{{- $volumes = concat $volumes (include "carom.tlsVolumes" (list (index $ 0) $part) | fromYamlArray) -}}
{{- end -}}
{{- if ne (index . 1) "intake" -}}
{{- $volumes = concat $volumes (include "carom.egressVolumes" (index . 0) | fromYamlArray) -}}
{{- end -}}
{{- with include "carom.signingFileSecret" . -}}
{{- $file := dict "key" (index $ 0).Values.signing.secretKey "path" "signing.json" -}}
{{- $volumes = append $volumes (dict "name" "signing" "secret" (dict "secretName" . "items" (list $file))) -}}
{{- end -}}
{{- $keys := eq (index . 1) "intake" | ternary (include "carom.keysSecret" (index . 0)) "" -}}
{{- with $keys -}}
{{- $file := dict "key" "keys.json" "path" "keys.json" -}}
{{- $volumes = append $volumes (dict "name" "keys" "secret" (dict "secretName" . "items" (list $file))) -}}
{{- end -}}
{{- toYaml $volumes -}}
{{- end }}

{{/* Where they are mounted. API keys as a directory: a single file would never change in a running pod:
     include "carom.volumeMounts" (list . "intake") | fromYamlArray */}}
{{- define "carom.volumeMounts" -}}
{{- $mounts := (include "carom.values" . | fromYaml).extraVolumeMounts -}}
{{- range $part := list "broker" "store" -}}
{{- $mounts = concat $mounts (include "carom.tlsMounts" (list (index $ 0) $part) | fromYamlArray) -}}
{{- end -}}
{{- if ne (index . 1) "intake" -}}
{{- $mounts = concat $mounts (include "carom.egressMounts" (index . 0) | fromYamlArray) -}}
{{- end -}}
{{- if include "carom.signingFileSecret" . -}}
{{- $mounts = append $mounts (dict "name" "signing" "mountPath" "/etc/carom/signing" "readOnly" true) -}}
{{- end -}}
{{- if and (eq (index . 1) "intake") (index . 0).Values.auth.enabled -}}
{{- $mounts = append $mounts (dict "name" "keys" "mountPath" (include "carom.keysDirectory" .) "readOnly" true) -}}
{{- end -}}
{{- toYaml $mounts -}}
{{- end }}

{{/* A spread constraint with the component's own selector where it has none, by which pods of an older revision do not count:
     include "carom.spread" (list $constraint (list . "intake")) */}}
{{- define "carom.spread" -}}
{{- toYaml (index . 0) }}
{{- if not (hasKey (index . 0) "labelSelector") }}
labelSelector:
  matchLabels:
    {{- include "carom.selectorLabels" (index . 1) | nindent 4 }}
matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}

{{/* The service itself: include "carom.container" (list . "intake") */}}
{{- define "carom.container" -}}
{{- $root := index . 0 -}}
{{- $values := include "carom.values" . | fromYaml -}}
name: {{ index . 1 }}
image: {{ include "carom.image" . }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
securityContext:
  {{- toYaml $values.containerSecurityContext | nindent 2 }}
ports:
  {{- with $values.config.port }}
  - {name: http, containerPort: {{ . }}}
  {{- end }}
  - {name: admin, containerPort: {{ $root.Values.config.adminPort }}}
envFrom:
  - configMapRef: {name: {{ include "carom.name" . }}}
env:
  {{- include "carom.secretEnv" . | nindent 2 }}
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
startupProbe:
  httpGet: {path: /livez, port: admin}
  {{- toYaml $values.probes.startup | nindent 2 }}
livenessProbe:
  httpGet: {path: /livez, port: admin}
  {{- toYaml $values.probes.liveness | nindent 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  {{- toYaml $values.probes.readiness | nindent 2 }}
{{- if $values.shutdown.preStopSleepSeconds }}
lifecycle:
  preStop:
    sleep: {seconds: {{ $values.shutdown.preStopSleepSeconds }}}
{{- end }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
{{- with include "carom.volumeMounts" . | fromYamlArray }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Declares exchanges and queues with a component's image, waiting for the broker that a Secret names:
     include "carom.declareTopology" (list . "intake" $secretAndKey) */}}
{{- define "carom.declareTopology" -}}
{{- $root := index . 0 -}}
{{- $values := include "carom.values" . | fromYaml -}}
name: declare-topology
image: {{ include "carom.image" . }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args: [declare-topology]
securityContext:
  {{- toYaml $values.containerSecurityContext | nindent 2 }}
env:
  - {name: CAROM_LOG_LEVEL, value: {{ $root.Values.config.logLevel }}}
  - {name: CAROM_LOG_FORMAT, value: {{ $root.Values.config.logFormat }}}
  {{- range $name, $file := include "carom.tlsFiles" (list $root "broker") | fromYaml }}
  {{- if $file }}
  - {name: {{ $name }}, value: {{ $file }}}
  {{- end }}
  {{- end }}
  - name: RABBITMQ_URL
    valueFrom:
      secretKeyRef:
        {{- index . 2 | nindent 8 }}
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
{{- with concat $values.extraVolumeMounts (include "carom.tlsMounts" (list $root "broker") | fromYamlArray) }}
volumeMounts:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

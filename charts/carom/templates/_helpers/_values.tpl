{{/* Values of a component over `defaults`, as YAML: include "carom.values" (list . "intake") | fromYaml */}}
{{- define "carom.values" -}}
{{- $values := (index . 0).Values -}}
{{- mergeOverwrite (deepCopy $values.defaults) (index $values (index . 1)) | toYaml -}}
{{- end }}

{{/* Most pods that a component may have: include "carom.mostPods" (list . "intake") */}}
{{- define "carom.mostPods" -}}
{{- $values := include "carom.values" . | fromYaml -}}
{{- eq $values.autoscaling.type "none" | ternary $values.replicas $values.autoscaling.maxReplicas -}}
{{- end }}

{{/* Least pods that a component may have: include "carom.leastPods" (list . "intake") */}}
{{- define "carom.leastPods" -}}
{{- $values := include "carom.values" . | fromYaml -}}
{{- eq $values.autoscaling.type "none" | ternary $values.replicas $values.autoscaling.minReplicas -}}
{{- end }}

{{/* Seconds that stopping takes without the margin; must be less than the grace period: include "carom.shutdownSeconds" $values.shutdown */}}
{{- define "carom.shutdownSeconds" -}}
{{- addf .preStopSleepSeconds .drainSeconds | ceil -}}
{{- end }}

{{/* terminationGracePeriodSeconds: include "carom.gracePeriod" $values.shutdown */}}
{{- define "carom.gracePeriod" -}}
{{- if kindIs "string" .terminationGracePeriodSeconds -}}
{{- .terminationGracePeriodSeconds | default (add (include "carom.shutdownSeconds" . | int) 15) -}}
{{- else -}}
{{- int .terminationGracePeriodSeconds -}}
{{- end -}}
{{- end }}

{{/* A value as an environment variable has it; lists with commas, whole numbers without exponent: include "carom.scalar" $value */}}
{{- define "carom.scalar" -}}
{{- if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . }}{{ $items = append $items (include "carom.scalar" .) }}{{ end -}}
{{- join "," $items -}}
{{- else if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end }}

{{/* Fails unless the cluster knows a kind: include "carom.requireApi" (list . "keda.sh/v1alpha1" "ScaledObject" "executor.autoscaling.type is keda" "KEDA") */}}
{{- define "carom.requireApi" -}}
{{- $known := (index . 0).Capabilities.APIVersions -}}
{{- $api := index . 1 -}}
{{- $kind := printf "%s/%s" $api (index . 2) -}}
{{- if not (or ($known.Has $api) ($known.Has $kind)) -}}
{{- fail (printf "%s, but this cluster has no %s: install %s first, or render with --api-versions %s when no cluster is asked." (index . 3) $kind (index . 4) $kind) -}}
{{- end -}}
{{- end }}

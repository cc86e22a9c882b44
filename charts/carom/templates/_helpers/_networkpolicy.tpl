{{/* A NetworkPolicy for a component's pods, both directions closed but for the rules below it. Its spec goes on with
     `ingress:` and `egress:`: include "carom.networkPolicyHead" (list . "intake") */}}
{{- define "carom.networkPolicyHead" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "carom.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "carom.selectorLabels" (list (index . 0) (index . 1)) | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end }}

{{/* Peers by the names of namespaces: include "carom.namespacePeers" $names */}}
{{- define "carom.namespacePeers" -}}
{{- $peers := list -}}
{{- range . -}}
{{- $peers = append $peers (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .))) -}}
{{- end -}}
{{- if $peers }}{{ toYaml $peers }}{{ end -}}
{{- end }}

{{/* A component of this release as a peer: include "carom.componentPeer" (list . "rabbitmq") */}}
{{- define "carom.componentPeer" -}}
- podSelector:
    matchLabels:
      {{- include "carom.selectorLabels" . | nindent 6 }}
{{- end }}

{{/* Ingress rule to the admin port for monitoring, if any: include "carom.monitoringIngress" . */}}
{{- define "carom.monitoringIngress" -}}
{{- with .Values.networkPolicy.monitoring.namespaces }}
- from:
    {{- include "carom.namespacePeers" . | nindent 4 }}
  ports:
    - {protocol: TCP, port: {{ $.Values.config.adminPort }}}
{{- end }}
{{- end }}

{{/* Egress rule to peers on ports; without peers, to anywhere on them: include "carom.egressTo" (list $peers $ports) */}}
{{- define "carom.egressTo" -}}
- ports:
    {{- range index . 1 }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with index . 0 }}
  to:
    {{- (kindIs "string" . | ternary . (toYaml .)) | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Egress rule to DNS: include "carom.dnsEgress" . */}}
{{- define "carom.dnsEgress" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
  {{- with .Values.networkPolicy.dns.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* Egress rule to the broker: include "carom.brokerEgress" . */}}
{{- define "carom.brokerEgress" -}}
{{- if .Values.dependencies.dev.enabled -}}
{{- include "carom.egressTo" (list (include "carom.componentPeer" (list . "rabbitmq")) (list 5672)) -}}
{{- else -}}
{{- include "carom.egressTo" (list .Values.networkPolicy.broker.to .Values.networkPolicy.broker.ports) -}}
{{- end -}}
{{- end }}

{{/* Egress rule to the store: include "carom.storeEgress" . */}}
{{- define "carom.storeEgress" -}}
{{- if .Values.dependencies.dev.enabled -}}
{{- include "carom.egressTo" (list (include "carom.componentPeer" (list . "redis")) (list 6379)) -}}
{{- else -}}
{{- include "carom.egressTo" (list .Values.networkPolicy.store.to .Values.networkPolicy.store.ports) -}}
{{- end -}}
{{- end }}

{{/* Egress rule to the collector of spans, if any: include "carom.collectorEgress" . */}}
{{- define "carom.collectorEgress" -}}
{{- if .Values.tracing.endpoint -}}
{{- include "carom.egressTo" (list .Values.networkPolicy.collector.to .Values.networkPolicy.collector.ports) -}}
{{- end -}}
{{- end }}

{{/* CIDRs that jobs may reach beyond the internet, as a YAML list: include "carom.openedCIDRs" . | fromYamlArray */}}
{{- define "carom.openedCIDRs" -}}
{{- $opened := .Values.networkPolicy.egress.allowedCIDRs -}}
{{- range .Values.egress.allow -}}
{{- if contains ":" . -}}
{{- $opened = append $opened (contains "/" . | ternary . (printf "%s/128" .)) -}}
{{- else if regexMatch "^[0-9./]+$" . -}}
{{- $opened = append $opened (contains "/" . | ternary . (printf "%s/32" .)) -}}
{{- end -}}
{{- end -}}
{{- uniq $opened | toYaml -}}
{{- end }}

{{/* The internet without the blocked ranges, each in the block that holds it: include "carom.internetPeers" . */}}
{{- define "carom.internetPeers" -}}
{{- $four := list -}}
{{- $six := list -}}
{{- range .Values.networkPolicy.egress.blockedCIDRs -}}
{{- if contains ":" . }}{{ $six = append $six . }}{{ else }}{{ $four = append $four . }}{{ end -}}
{{- end -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except: {{- toYaml $four | nindent 6 }}
# All that is assigned as global unicast.
- ipBlock:
    cidr: 2000::/3
    except: {{- toYaml $six | nindent 6 }}
{{- end }}

{{/* The NetworkPolicy of a service that calls out: include "carom.callerNetworkPolicy" (list . "executor") */}}
{{- define "carom.callerNetworkPolicy" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.networkPolicy.enabled -}}
{{- include "carom.networkPolicyHead" . }}
  ingress:
    {{- include "carom.monitoringIngress" $root | trim | default "[]" | nindent 4 }}
  egress:
    {{- include "carom.dnsEgress" $root | nindent 4 }}
    {{- include "carom.brokerEgress" $root | nindent 4 }}
    {{- include "carom.storeEgress" $root | nindent 4 }}
    {{- include "carom.collectorEgress" $root | nindent 4 }}
    {{- if $root.Values.networkPolicy.egress.internet }}
    - to:
        {{- include "carom.internetPeers" $root | nindent 8 }}
    {{- end }}
    {{- with include "carom.openedCIDRs" $root | fromYamlArray }}
    - to:
        {{- range . }}
        - ipBlock: {cidr: {{ . | quote }}}
        {{- end }}
    {{- end }}
    {{- if $root.Values.test.enabled }}
    {{- include "carom.egressTo" (list (include "carom.componentPeer" (list $root "test")) (list 8080)) | nindent 4 }}
    {{- end }}
    {{- with $root.Values.networkPolicy.egress.extra }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end }}

{{/* Peers that may reach the API, if any: include "carom.apiCallers" . */}}
{{- define "carom.apiCallers" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $peers := include "carom.namespacePeers" (concat $policy.ingressController.namespaces $policy.clients.namespaces | uniq) | fromYamlArray -}}
{{- range $policy.ingressController.cidrs -}}
{{- $peers = append $peers (dict "ipBlock" (dict "cidr" .)) -}}
{{- end -}}
{{- if $policy.clients.sameNamespace -}}
{{- $peers = append $peers (dict "podSelector" dict) -}}
{{- else if .Values.test.enabled -}}
{{- $peers = concat $peers (include "carom.componentPeer" (list . "test") | fromYamlArray) -}}
{{- end -}}
{{- if $peers }}{{ toYaml $peers }}{{ end -}}
{{- end }}

{{/* Ingress rules of intake, as a YAML list: include "carom.intakeIngress" . */}}
{{- define "carom.intakeIngress" -}}
{{- with include "carom.apiCallers" . }}
- from:
    {{- . | nindent 4 }}
  ports:
    - {protocol: TCP, port: {{ $.Values.intake.config.port }}}
{{- end }}
{{- include "carom.monitoringIngress" . }}
{{- end }}

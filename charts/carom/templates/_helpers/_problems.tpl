{{/* What is wrong with the values, as a YAML list of sentences: include "carom.problems" . | fromYamlArray */}}
{{- define "carom.problems" -}}
{{- $problems := list -}}
{{- range $part := list "connections" "access" -}}
{{- $problems = concat $problems (include (printf "carom.problems.%s" $part) $ | fromYamlArray) -}}
{{- end -}}
{{- range $component := list "intake" "executor" "callback" -}}
{{- $problems = concat $problems (include "carom.problems.component" (list $ $component) | fromYamlArray) -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end }}

{{/* Broker, store and secrets: include "carom.problems.connections" . */}}
{{- define "carom.problems.connections" -}}
{{- $problems := list -}}
{{- $dev := .Values.dependencies.dev.enabled -}}
{{- range $what, $example := dict "broker" "amqp://user:password@host:5672/vhost" "store" "redis://user:password@host:6379/0" -}}
{{- $given := index $.Values $what -}}
{{- if and $given.url $given.existingSecret -}}
{{- $problems = append $problems (printf "%s.url and %s.existingSecret are both set: keep one of them." $what $what) -}}
{{- end -}}
{{- if and $dev (or $given.url $given.existingSecret) -}}
{{- $problems = append $problems (printf "dependencies.dev.enabled brings a %s, but %s.url or %s.existingSecret names another: leave out one of the two." $what $what $what) -}}
{{- end -}}
{{- $connecting := eq $what "broker" | ternary (include "carom.brokerUsers" $ | fromYamlArray) (list "intake" "executor" "callback") -}}
{{- $nameless := $connecting -}}
{{- range $name, $user := $given.users -}}
{{- if or $user.url $user.existingSecret -}}
{{- $nameless = without $nameless $name -}}
{{- end -}}
{{- end -}}
{{- if and $nameless (not (or $dev $given.url $given.existingSecret)) -}}
{{- $for := eq (len $nameless) (len $connecting) | ternary "" (printf " for %s (%s.users.%s)" (join ", " $nameless) $what (first $nameless)) -}}
{{- $problems = append $problems (printf "No %s is named%s: set %s.url (%s), or %s.existingSecret to a Secret that holds such a URL, or, for trying out only, dependencies.dev.enabled=true." $what $for $what $example $what) -}}
{{- end -}}
{{- $tls := or $given.tls.caSecret $given.tls.clientSecret -}}
{{- if and $dev $tls -}}
{{- $problems = append $problems (printf "dependencies.dev.enabled brings a %s without TLS, but %s.tls names certificates: leave out one of the two." $what $what) -}}
{{- end -}}
{{- if and $tls (hasPrefix (printf "%s://" (splitList ":" $example | first)) $given.url) -}}
{{- $problems = append $problems (printf "%s.tls names certificates, but %s.url has no TLS: it must begin with %ss://." $what $what (splitList ":" $example | first)) -}}
{{- end -}}
{{- with $given.url -}}
{{- $problems = concat $problems (include "carom.problems.url" (list $ $what (printf "%s.url" $what) . $example) | fromYamlArray) -}}
{{- end -}}
{{- range $name, $user := $given.users -}}
{{- /* The scaler's is KEDA's business: it may be the management API's. */ -}}
{{- if and $user.url (ne $name "scaler") -}}
{{- $problems = concat $problems (include "carom.problems.url" (list $ $what (printf "%s.users.%s.url" $what $name) $user.url $example) | fromYamlArray) -}}
{{- end -}}
{{- if and $user.url $user.existingSecret -}}
{{- $problems = append $problems (printf "%s.users.%s.url and .existingSecret are both set: keep one of them." $what $name) -}}
{{- end -}}
{{- if and $dev (or $user.url $user.existingSecret) -}}
{{- $problems = append $problems (printf "%s.users.%s names a %s, but dependencies.dev.enabled brings one with users of its own: leave out one of the two." $what $name $what) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.callback.signing.secret .Values.callback.signing.existingSecret -}}
{{- $problems = append $problems "callback.signing.secret and callback.signing.existingSecret are both set: keep one of them." -}}
{{- end -}}
{{- $proxy := .Values.egress.proxy -}}
{{- if and $proxy.url $proxy.existingSecret -}}
{{- $problems = append $problems "egress.proxy.url and egress.proxy.existingSecret are both set: keep one of them." -}}
{{- end -}}
{{- if contains "@" $proxy.url -}}
{{- $problems = append $problems "egress.proxy.url holds a password, and would stand in a ConfigMap: set egress.proxy.existingSecret to a Secret that holds the URL." -}}
{{- end -}}
{{- if and .Values.encryption.keys .Values.encryption.existingSecret -}}
{{- $problems = append $problems "encryption.keys and encryption.existingSecret are both set: keep one of them." -}}
{{- end -}}
{{- if and .Values.encryption.allowClear (include "carom.encryptionSecret" .) -}}
{{- $problems = append $problems "encryption.allowClear is true, but there are keys: leave out one of the two." -}}
{{- end -}}
{{- if not (or $dev .Values.encryption.allowClear (include "carom.encryptionSecret" .)) -}}
{{- $problems = append $problems "RabbitMQ and Redis would keep payloads, headers and responses in clear: set encryption.existingSecret to a Secret whose `keys` are such as a1:$(openssl rand -base64 32), or accept it with encryption.allowClear=true." -}}
{{- end -}}
{{- if and .Values.signing.publicSecret (not .Values.signing.existingSecret) -}}
{{- $problems = append $problems "signing.publicSecret names what is published, but signing.existingSecret names nothing that signs: set both." -}}
{{- end -}}
{{- if and .Values.auth.existingSecret (not .Values.auth.enabled) -}}
{{- $problems = append $problems "auth.existingSecret names API keys, but auth.enabled is false: leave out one of the two." -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end }}

{{/* One URL and its port: include "carom.problems.url" (list . "broker" "broker.url" $url "amqp://...") */}}
{{- define "carom.problems.url" -}}
{{- $problems := list -}}
{{- $root := index . 0 -}}
{{- $what := index . 1 -}}
{{- $path := index . 2 -}}
{{- $url := index . 3 -}}
{{- $example := index . 4 -}}
{{- $scheme := splitList ":" $example | first -}}
{{- if not (regexMatch (printf "^%ss?://[^/]" $scheme) $url) -}}
{{- $problems = append $problems (printf "%s is no URL such as %s." $path $example) -}}
{{- end -}}
{{- $port := regexFind ":[0-9]+(/[^@]*)?$" $url | regexFind "[0-9]+" -}}
{{- $policy := $root.Values.networkPolicy -}}
{{- $open := (index $policy $what).ports | toStrings -}}
{{- if and $port $policy.enabled (not (has $port $open)) -}}
{{- $problems = append $problems (printf "%s has port %s, which the NetworkPolicies do not open: set networkPolicy.%s.ports=[%s]." $path $port $what $port) -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end }}

{{/* Ingress, HTTPRoute, NetworkPolicies and monitoring: include "carom.problems.access" . */}}
{{- define "carom.problems.access" -}}
{{- $problems := list -}}
{{- $policy := .Values.networkPolicy -}}
{{- $controller := or $policy.ingressController.namespaces $policy.ingressController.cidrs -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- $problems = append $problems "ingress.enabled is true without a host: set ingress.hosts, such as [carom.example.com]." -}}
{{- end -}}
{{- if and .Values.ingress.tls.enabled (not .Values.ingress.enabled) -}}
{{- $problems = append $problems "ingress.tls.enabled is true, but ingress.enabled is not: set both (the TLS of an HTTPRoute is its Gateway's)." -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- $problems = append $problems "httpRoute.enabled is true without a Gateway: set httpRoute.parentRefs, such as [{name: public, namespace: gateways}]." -}}
{{- end -}}
{{- if and $policy.enabled (or .Values.ingress.enabled .Values.httpRoute.enabled) (not $controller) -}}
{{- $problems = append $problems "The NetworkPolicy of intake would keep the ingress out: set networkPolicy.ingressController.namespaces to the namespace of your ingress controller or gateway, such as [ingress-nginx]." -}}
{{- end -}}
{{- if and $policy.enabled (ne .Values.intake.service.type "ClusterIP") (not $policy.ingressController.cidrs) -}}
{{- $problems = append $problems (printf "The NetworkPolicy of intake would keep the clients of its %s out: set networkPolicy.ingressController.cidrs to where they come from." .Values.intake.service.type) -}}
{{- end -}}
{{- if and $policy.enabled .Values.monitoring.serviceMonitor.enabled (not $policy.monitoring.namespaces) -}}
{{- $problems = append $problems "The NetworkPolicies would keep Prometheus out: set networkPolicy.monitoring.namespaces to its namespace, such as [monitoring]." -}}
{{- end -}}
{{- range $slo, $share := .Values.monitoring.prometheusRule.objectives -}}
{{- if or (le ($share | float64) 0.0) (ge ($share | float64) 1.0) -}}
{{- $problems = append $problems (printf "monitoring.prometheusRule.objectives.%s is %v: give a share above 0 and below 1, such as 0.99 (1 would allow no error at all)." $slo $share) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.test.url (not .Values.test.enabled) -}}
{{- $problems = append $problems "test.url is set, but test.enabled is false: there is no test to use it." -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end }}

{{/* A component's scaling, budget and shutdown: include "carom.problems.component" (list . "intake") */}}
{{- define "carom.problems.component" -}}
{{- $problems := list -}}
{{- $component := index . 1 -}}
{{- $values := include "carom.values" . | fromYaml -}}
{{- $scaling := $values.autoscaling -}}
{{- if and (ne $scaling.type "none") (gt (int $values.replicas) 1) -}}
{{- $problems = append $problems (printf "%s.replicas is %d while %s.autoscaling.type is %s, which owns the number: leave replicas out and set %s.autoscaling.minReplicas." $component (int $values.replicas) $component $scaling.type $component) -}}
{{- end -}}
{{- if and (ne $scaling.type "none") (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- $problems = append $problems (printf "%s.autoscaling.minReplicas is over maxReplicas: raise maxReplicas." $component) -}}
{{- end -}}
{{- if and (ne (toString $values.pdb.minAvailable) "") (ne (toString $values.pdb.maxUnavailable) "") -}}
{{- $problems = append $problems (printf "%s.pdb has minAvailable and maxUnavailable: keep one of them." $component) -}}
{{- end -}}
{{- if and $values.pdb.enabled (kindIs "float64" $values.pdb.minAvailable) (gt (include "carom.mostPods" . | int) 1) (ge (int $values.pdb.minAvailable) (include "carom.leastPods" . | int)) -}}
{{- $problems = append $problems (printf "%s.pdb.minAvailable is %d of %s pods, so that no node could ever be drained: lower it, or use maxUnavailable." $component (int $values.pdb.minAvailable) (include "carom.leastPods" .)) -}}
{{- end -}}
{{- $grace := include "carom.gracePeriod" $values.shutdown | int -}}
{{- $needed := include "carom.shutdownSeconds" $values.shutdown | int -}}
{{- if le $grace $needed -}}
{{- $problems = append $problems (printf "%s.shutdown.terminationGracePeriodSeconds is %d, but preStop and drain take %d: raise it over that, or leave it empty." $component $grace $needed) -}}
{{- end -}}
{{- toYaml $problems -}}
{{- end }}

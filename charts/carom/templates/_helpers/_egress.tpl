{{/* Certificates for single hosts that are called, from Secrets. */}}

{{/* The Secrets, each once, as a list: include "carom.egressSecrets" . | fromYamlArray */}}
{{- define "carom.egressSecrets" -}}
{{- $secrets := list -}}
{{- range $host, $of := .Values.egress.tls -}}
{{- $secrets = concat $secrets (list ($of.caSecret | default "") ($of.clientSecret | default "")) -}}
{{- end -}}
{{- compact $secrets | uniq | sortAlpha | toYaml -}}
{{- end }}

{{/* CAROM_EGRESS_TLS: include "carom.egressTls" . */}}
{{- define "carom.egressTls" -}}
{{- $hosts := dict -}}
{{- range $host, $of := .Values.egress.tls -}}
{{- $files := dict -}}
{{- with $of.caSecret }}{{ $_ := set $files "ca" (printf "/etc/carom/egress/%s/ca.crt" .) }}{{ end -}}
{{- with $of.clientSecret -}}
{{- $_ := set $files "cert" (printf "/etc/carom/egress/%s/tls.crt" .) -}}
{{- $_ := set $files "key" (printf "/etc/carom/egress/%s/tls.key" .) -}}
{{- end -}}
{{- $_ := set $hosts $host $files -}}
{{- end -}}
{{- $hosts | empty | ternary "" ($hosts | toJson) -}}
{{- end }}

{{/* Volumes, by number: a Secret's name may be longer than a volume's: include "carom.egressVolumes" . | fromYamlArray */}}
{{- define "carom.egressVolumes" -}}
{{- $volumes := list -}}
{{- range $number, $name := include "carom.egressSecrets" . | fromYamlArray -}}
{{- $secret := dict "secretName" $name "defaultMode" 288 -}}
{{- $volumes = append $volumes (dict "name" (printf "egress-tls-%d" $number) "secret" $secret) -}}
{{- end -}}
{{- toYaml $volumes -}}
{{- end }}

{{/* Where they are mounted, as directories, so that renewed files arrive: include "carom.egressMounts" . | fromYamlArray */}}
{{- define "carom.egressMounts" -}}
{{- $mounts := list -}}
{{- range include "carom.egressVolumes" . | fromYamlArray -}}
{{- $mounts = append $mounts (dict "name" .name "mountPath" (printf "/etc/carom/egress/%s" .secret.secretName) "readOnly" true) -}}
{{- end -}}
{{- toYaml $mounts -}}
{{- end }}

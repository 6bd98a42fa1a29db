{{- /*
What the operator does where it looks after bots, and the code that needs it. There is no right to read or
delete a Secret, or to make a pod. tests/tests/system/rights.rs compares these rules with what the API server was really
asked: one that is not used fails there as one that is missing does.
*/ -}}
{{- define "operator.rules" -}}
# list, watch: run.rs, the bots themselves. get: controller/apply, whether a bot stays whose child is missing.
- apiGroups: [trading.three-rivers-tech.com]
  resources: [tradingbots]
  verbs: [get, list, watch]
# controller/status, the operator's share, and the agent's once it is gone.
- apiGroups: [trading.three-rivers-tech.com]
  resources: [tradingbots/status]
  verbs: [patch]
# list, watch: watch/children; of ConfigMaps also watch/config_maps.rs, the names of all, so that a bot
# whose bars are missing heals when they come; of Leases also watch/leases.rs, whether an agent lives.
# create, patch: controller/apply. get: the same, to see whose an object is that is in the way. delete: the same, what a
# former bot of the same name left behind and what a bot no longer asks for.
- apiGroups: [""]
  resources: [serviceaccounts, configmaps, persistentvolumeclaims, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# build/ingress.rs, build/http_route.rs, build/certificate.rs: the way in and its certificate. The last two kinds
# are watched where the cluster has them.
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get, list, watch, create, patch, delete]
{{- if not .Values.watchNamespaces }}
# watch/optional.rs, whether the cluster has these two. Where this right is missing they are asked for every 30 s.
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [httproutes.gateway.networking.k8s.io, certificates.cert-manager.io]
  verbs: [list, watch]
{{- end }}
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch, create, patch, delete]
# controller/apply, the keys of an agent's API. They are never read.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
# watch/pods.rs, the names of those that bear a bot's label: an agent of a former bot may still be at work.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# controller/status/event.rs; patch counts a turn that comes back.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- /*
What the operator gives to agents, each for the agent's own objects (operator/src/controller/build/role.rs): nobody can
give what they do not have. Some of these it needs itself: then they are above, too.
*/ -}}
{{- define "operator.granted" -}}
- apiGroups: [trading.three-rivers-tech.com]
  resources: [tradingbots]
  verbs: [get]
- apiGroups: [trading.three-rivers-tech.com]
  resources: [tradingbots/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, update]
{{- end }}

package policy

// Reason is a stable code for a decision, used in metrics, warnings, Events, audit
// annotations and the command line.
type Reason string

// Why a pod is injected.
const (
	PodOptedIn     Reason = "PodOptedIn"
	AlwaysSelected Reason = "AlwaysSelected"
	PolicyEnabled  Reason = "PolicyEnabled"
)

// Why either gate leaves a pod alone.
const (
	HostNetwork      Reason = "HostNetwork"
	IgnoredNamespace Reason = "IgnoredNamespace"
	PodOptedOut      Reason = "PodOptedOut"
)

// Why the injector leaves a pod alone that the API server sent.
const (
	PolicyUnknown  Reason = "PolicyUnknown"
	NeverSelected  Reason = "NeverSelected"
	PolicyDisabled Reason = "PolicyDisabled"
)

// Why the API server does not ask the injector.
const (
	NoWebhook              Reason = "NoWebhook"
	ControlPlaneNamespace  Reason = "ControlPlaneNamespace"
	NamespaceDisabled      Reason = "NamespaceDisabled"
	NamespaceOtherRevision Reason = "NamespaceOtherRevision"
	NamespaceNotLabelled   Reason = "NamespaceNotLabelled"
	PodRevisionOther       Reason = "PodRevisionOther"
	SelectorMismatch       Reason = "SelectorMismatch"
)

// What is wrong while a decision is made all the same.
const (
	MultipleWebhooks Reason = "MultipleWebhooks"
	RulesUnknown     Reason = "RulesUnknown"
	ConditionUnknown Reason = "ConditionUnknown"
	InvalidWebhook   Reason = "InvalidWebhook"
)

// Text documents a reason for users: the reference page and `explain` are made from it.
type Text struct {
	Reason Reason
	// Means says what the reason tells about a pod, one sentence.
	Means string
	// Do says what to change; empty where nothing is wrong.
	Do string
}

// Doc returns the text of a reason of this package; false for any other word.
func Doc(r Reason) (Text, bool) {
	for _, t := range Reasons() {
		if t.Reason == r {
			return t, true
		}
	}
	return Text{}, false
}

// Reasons lists every reason: those for injecting, those against in the order in which they
// are tried, then the remarks. The list is new at each call.
func Reasons() []Text {
	return []Text{
		{PodOptedIn, "Injected: the pod's label (or annotation) sidecar.istio.io/inject is true.", ""},
		{AlwaysSelected, "Injected: a selector of alwaysInjectSelector matches the pod's labels.", ""},
		{PolicyEnabled, "Injected: nothing speaks against it, and the policy is enabled.", ""},

		{
			NoWebhook, "The API server asks no injector: there is no webhook configuration of one, or all are deactivated.",
			"Install the control plane, or set its revision as default.",
		},
		{
			IgnoredNamespace, "The namespace belongs to the cluster itself and is never injected.",
			"Run the pod in another namespace.",
		},
		{
			HostNetwork, "The pod uses the node's network: interception rules would capture the whole node's traffic.",
			"Remove spec.hostNetwork.",
		},
		{
			PodOptedOut, "The pod's label (or annotation) sidecar.istio.io/inject is false.",
			"Remove it, or set the label to true.",
		},
		{
			NamespaceDisabled, "The namespace's label istio-injection is there and is not enabled; that keeps every revision away.",
			"Set it to enabled, or remove it and set istio.io/rev.",
		},
		{
			NamespaceOtherRevision, "The namespace asks for a revision or tag that has no webhook in this cluster.",
			"Name an installed revision or tag, or install that one.",
		},
		{
			PodRevisionOther, "The pod asks by its label istio.io/rev for a revision or tag that has no webhook in this cluster, and the namespace asks for none.",
			"Name an installed revision or tag, or install that one.",
		},
		{
			NamespaceNotLabelled, "Neither the namespace nor the pod asks for injection.",
			"Label the namespace istio-injection=enabled (or istio.io/rev=REVISION), or the pod sidecar.istio.io/inject=true.",
		},
		{
			ControlPlaneNamespace, "The pod runs beside the control plane, whose namespace is kept away from the injector.",
			"Label the pod sidecar.istio.io/inject=true, as gateways do.",
		},
		{
			SelectorMismatch, "The labels ask for an installed revision, and still no entry of its webhook matches: its selectors are not the chart's.",
			"Read the entries' steps, and change the webhook configuration or the labels.",
		},

		{
			PolicyUnknown, "The injector's policy is neither enabled nor disabled; nothing is injected until it is.",
			"Set global.proxy.autoInject to enabled or disabled.",
		},
		{
			NeverSelected, "A selector of neverInjectSelector matches the pod's labels.",
			"Change the pod's labels or the selector, or label the pod sidecar.istio.io/inject=true.",
		},
		{
			PolicyDisabled, "The injector's policy is disabled: only pods that ask for it are injected.",
			"Label the pod sidecar.istio.io/inject=true, or set global.proxy.autoInject to enabled.",
		},

		{
			MultipleWebhooks, "More than one webhook entry matches the pod; it is injected once for each, and the last one holds.",
			"Label the namespace or the pod for one revision only.",
		},
		{
			RulesUnknown, "The settings of the revision that is asked are not at hand: its own decision is not known here.",
			"Ask with access to that revision's ConfigMaps.",
		},
		{
			ConditionUnknown, "A webhook entry has a condition that is not evaluated here; it is taken as true.", "",
		},
		{
			InvalidWebhook, "A selector of a webhook entry cannot be read; the entry is left out.",
			"Correct the webhook configuration.",
		},
	}
}

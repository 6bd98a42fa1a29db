package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var groupVersion = schema.GroupVersion{Group: "trading.three-rivers-tech.com", Version: "v1alpha1"}

// TradingBot is the resource, as far as the peer reads it.
type TradingBot struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              TradingBotSpec   `json:"spec"`
	Status            TradingBotStatus `json:"status,omitempty"`
}

// TradingBotList is a list of them.
type TradingBotList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TradingBot `json:"items"`
}

// TradingBotSpec has the fields that the benchmark's bots use.
type TradingBotSpec struct {
	Assets []Asset    `json:"assets"`
	Feeds  []Feed     `json:"feeds,omitempty"`
	Risk   *Risk      `json:"risk,omitempty"`
	Agent  *AgentSpec `json:"agent,omitempty"`
}

// Asset is what is traded.
type Asset struct {
	Pair string `json:"pair"`
}

// Feed is where prices come from.
type Feed struct {
	Name   string  `json:"name"`
	Replay *Replay `json:"replay,omitempty"`
}

// Replay plays recorded bars.
type Replay struct {
	Data []ReplayData `json:"data"`
}

// ReplayData are the bars of a pair.
type ReplayData struct {
	Pair       string   `json:"pair"`
	Timeframe  string   `json:"timeframe"`
	ConfigMaps []KeyRef `json:"configMaps"`
}

// KeyRef is a key of a ConfigMap.
type KeyRef struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// Risk is what the gatekeeper allows.
type Risk struct {
	MaxOpenPositions *int32 `json:"maxOpenPositions,omitempty"`
}

// AgentSpec is how the pod runs.
type AgentSpec struct {
	LogLevel string `json:"logLevel,omitempty"`
}

// TradingBotStatus is what operator and agent report.
type TradingBotStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	ConfigHash         string             `json:"configHash,omitempty"`
	APIKeySecret       string             `json:"apiKeySecret,omitempty"`
	Summary            *Summary           `json:"summary,omitempty"`
	Agent              *AgentStatus       `json:"agent,omitempty"`
	Account            *AccountStatus     `json:"account,omitempty"`
	Trading            *TradingStatus     `json:"trading,omitempty"`
}

// Summary is the configuration in words.
type Summary struct {
	State  string `json:"state"`
	Venues string `json:"venues"`
	Models string `json:"models"`
	Assets string `json:"assets"`
}

// AgentStatus is the agent's.
type AgentStatus struct {
	Pod        string      `json:"pod"`
	Image      string      `json:"image,omitempty"`
	Version    string      `json:"version"`
	ConfigHash string      `json:"configHash"`
	StartedAt  metav1.Time `json:"startedAt"`
	Loop       string      `json:"loop"`
}

// AccountStatus is the agent's.
type AccountStatus struct {
	Currency        string `json:"currency"`
	Equity          string `json:"equity"`
	Cash            string `json:"cash"`
	DayPnl          string `json:"dayPnl"`
	RealizedPnl     string `json:"realizedPnl"`
	UnrealizedPnl   string `json:"unrealizedPnl"`
	DrawdownPercent string `json:"drawdownPercent"`
}

// TradingStatus is the agent's.
type TradingStatus struct {
	OpenPositions int32 `json:"openPositions"`
	TradesToday   int32 `json:"tradesToday"`
	ClosedTrades  int64 `json:"closedTrades"`
}

// AddToScheme registers the types.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(groupVersion, &TradingBot{}, &TradingBotList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
	return nil
}

// DeepCopyObject copies.
func (in *TradingBot) DeepCopyObject() runtime.Object { return in.DeepCopy() }

// DeepCopy copies.
func (in *TradingBot) DeepCopy() *TradingBot {
	out := *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Spec = in.Spec.deepCopy()
	out.Status = in.Status.deepCopy()
	return &out
}

// DeepCopyObject copies.
func (in *TradingBotList) DeepCopyObject() runtime.Object {
	out := *in
	in.ListMeta.DeepCopyInto(&out.ListMeta)
	out.Items = make([]TradingBot, len(in.Items))
	for i := range in.Items {
		out.Items[i] = *in.Items[i].DeepCopy()
	}
	return &out
}

func (in TradingBotSpec) deepCopy() TradingBotSpec {
	out := in
	out.Assets = append([]Asset(nil), in.Assets...)
	out.Feeds = append([]Feed(nil), in.Feeds...)
	for i, feed := range out.Feeds {
		if feed.Replay == nil {
			continue
		}
		replay := Replay{Data: append([]ReplayData(nil), feed.Replay.Data...)}
		for j, data := range replay.Data {
			replay.Data[j].ConfigMaps = append([]KeyRef(nil), data.ConfigMaps...)
		}
		out.Feeds[i].Replay = &replay
	}
	if in.Risk != nil {
		out.Risk = &Risk{MaxOpenPositions: copied(in.Risk.MaxOpenPositions)}
	}
	out.Agent = copied(in.Agent)
	return out
}

func (in TradingBotStatus) deepCopy() TradingBotStatus {
	out := in
	out.Conditions = append([]metav1.Condition(nil), in.Conditions...)
	out.Summary = copied(in.Summary)
	out.Agent = copied(in.Agent)
	out.Account = copied(in.Account)
	out.Trading = copied(in.Trading)
	return out
}

func copied[T any](in *T) *T {
	if in == nil {
		return nil
	}
	out := *in
	return &out
}

package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"

	"clink/internal/secret"
	"clink/topic"
	"clink/topology"

	"github.com/gorilla/mux"
)

// A linkAnswer is EMQX's form of a link in an answer, with clink's additions.
// Fields here shadow those of the embedded link.
type linkAnswer struct {
	topology.Link
	Export      *[]topic.Filter      `json:"export,omitempty"` // an empty list, which lets nothing out, is shown: without the field all is let out
	Status      string               `json:"status"`
	NodeStatus  []nodeStatus         `json:"node_status"`
	Replication topology.Replication `json:"replication"`
	Inbound     inbound              `json:"inbound"`
	Source      source               `json:"source"`
	Suspension  *topology.Suspension `json:"suspension,omitempty"`
}

type nodeStatus struct {
	Node   string `json:"node"`
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// inbound joins what the source says of an external peer's half with what is
// seen of it.
type inbound struct {
	ClientID string     `json:"clientid,omitempty"`
	Username string     `json:"username,omitempty"`
	Password secret.Ref `json:"password,omitzero"`
	topology.Presence
}

type source struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Revision string `json:"revision"`
}

func answer(l Link) linkAnswer {
	a := linkAnswer{
		Link:        l.Link,
		Status:      l.Observed.State,
		NodeStatus:  []nodeStatus{{l.Observed.Node, l.Observed.State, l.Observed.Reason}},
		Replication: l.Observed.Replication,
		Inbound:     inbound{Presence: l.Observed.Inbound},
		Source:      source{l.Pos.File, l.Pos.Line, l.Revision},
		Suspension:  l.Suspension,
	}
	if l.HasExport {
		exported := full(l.Link.Export)
		a.Export = &exported
	}
	a.Topics, a.SSL = full(a.Topics), fullTLS(a.SSL)
	if in := l.Inbound; in != nil {
		a.Inbound.ClientID, a.Inbound.Username, a.Inbound.Password = in.ClientID, in.Username, in.Password
	}
	return a
}

func answers(links []Link) []linkAnswer {
	list := make([]linkAnswer, len(links))
	for i, l := range links {
		list[i] = answer(l)
	}
	return list
}

// The shapes below are EMQX's, to the key.

type linkMetrics struct {
	Router     router     `json:"router"`
	Forwarding forwarding `json:"forwarding"`
}

type router struct {
	Routes int `json:"routes"`
}

type forwarding struct {
	Matched    uint64  `json:"matched"`
	Success    uint64  `json:"success"`
	Failed     uint64  `json:"failed"`
	Dropped    uint64  `json:"dropped"`
	Retried    uint64  `json:"retried"`
	Queuing    int64   `json:"queuing"`
	Inflight   int64   `json:"inflight"`
	Rate       float64 `json:"rate"`
	RateLast5m float64 `json:"rate_last5m"`
	RateMax    float64 `json:"rate_max"`
}

type nodeMetrics struct {
	Node    string      `json:"node"`
	Metrics linkMetrics `json:"metrics"`
}

func metricsAnswer(s topology.LinkStatus) any {
	m := s.Metrics
	all := linkMetrics{
		Router: router{s.Replication.PeerRoutes},
		Forwarding: forwarding{m.Matched, m.Success, m.Failed, m.Dropped, m.Retried,
			m.Queuing, m.Inflight, m.Rate, m.RateLast5m, m.RateMax},
	}
	return struct {
		Metrics     linkMetrics   `json:"metrics"`
		NodeMetrics []nodeMetrics `json:"node_metrics"`
	}{all, []nodeMetrics{{s.Node, all}}}
}

// reply writes one JSON answer. The bodies are plain data that always
// marshals; a connection that breaks is the client's affair.
func reply(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"code":"INTERNAL_ERROR","message":"The answer could not be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(b, '\n'))
}

// fail writes EMQX's form of an error.
func fail(w http.ResponseWriter, status int, code, message string) {
	reply(w, status, map[string]string{"code": code, "message": message})
}

// pathVar returns a part of the path, unescaped. A part that cannot be
// unescaped names nothing.
func pathVar(r *http.Request, name string) (string, bool) {
	raw, ok := mux.Vars(r)[name]
	if !ok {
		return "", false
	}
	v, err := url.PathUnescape(raw)
	if err != nil {
		return "", true
	}
	return v, true
}

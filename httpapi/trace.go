package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"clink/topology"
)

// maxTrace bounds how long a trace may wait for the peers.
const maxTrace = 30 * time.Second

// traceFields are those of a trace's body.
var traceFields = []string{"topic", "qos", "deliver", "payload", "timeout"}

// trace follows a probe message from a site over its links.
func (a *api) trace(w http.ResponseWriter, r *http.Request) error {
	if a.Operator == nil {
		return errNotBuilt
	}
	if err := readFlags(r.URL.RawQuery, nil); err != nil {
		return err
	}
	site, err := a.site(r)
	if err != nil {
		return err
	}
	body, err := readObject(w, r)
	if err != nil {
		return err
	}
	p, err := probing(body)
	if err != nil {
		return err
	}
	t, err := a.Operator.Trace(r.Context(), site, p)
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, t)
	return nil
}

// probing reads what to follow. Whether the topic can be is the site's to say.
func probing(body map[string]any) (topology.Probing, error) {
	p := topology.Probing{QoS: 1, Payload: []byte("clink trace"), Timeout: 5 * time.Second}
	for name := range body {
		if !slices.Contains(traceFields, name) {
			return p, bad("Unknown field " + limited(name) + didYouMean(name, traceFields) + "; a trace has a topic, and may have qos, deliver, payload and timeout")
		}
	}
	var ok bool
	if p.Topic, ok = body["topic"].(string); !ok || p.Topic == "" {
		return p, bad(`A trace needs a topic: the name that the probe is published to, such as "global/x"`)
	}
	if v, given := body["qos"]; given {
		n, _ := v.(json.Number)
		qos, err := strconv.Atoi(n.String())
		if err != nil || qos < 0 || qos > 2 {
			return p, bad("qos must be 0, 1 or 2")
		}
		p.QoS = byte(qos)
	}
	if v, given := body["deliver"]; given {
		if p.Deliver, ok = v.(bool); !ok {
			return p, bad("deliver must be true or false; with true the probe reaches subscribers")
		}
	}
	if v, given := body["payload"]; given {
		text, ok := v.(string)
		if !ok {
			return p, bad("payload must be a text")
		}
		p.Payload = []byte(text)
	}
	if v, given := body["timeout"]; given {
		text, _ := v.(string)
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 || d > maxTrace {
			return p, bad(`timeout must be a time of at most 30s, such as "5s"`)
		}
		p.Timeout = d
	}
	return p, nil
}

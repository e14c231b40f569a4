package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"clink/topology"
)

func TestTrace(t *testing.T) {
	w := newWorld(t)
	url := writable(t, w)
	const want = `{"topic":"t","qos":1,"deliver":false,"site":{"name":"site-a","subscribers":1,"sessions":0,"share_groups":0,"delivered":false},` +
		`"links":[{"peer":"clB","state":"withheld","reason":"not-announced","detail":"nobody at clB subscribes to it","routes":[],` +
		`"queued_ms":null,"sent_ms":null,"acknowledged_ms":null,"reported_ms":null,"puback":null,"site":null}]}`
	for _, path := range []string{"/trace", "/api/v5/trace", "/sites/site-a/trace", "/sites/site-a/api/v5/trace"} {
		if res, body := send(t, "POST", url+path, admin, `{"topic":"t"}`, nil); res.StatusCode != 200 || body != want {
			t.Errorf("%s = %d %s", path, res.StatusCode, body)
		}
	}
	if p := w.traced; p.Topic != "t" || p.QoS != 1 || p.Deliver || string(p.Payload) != "clink trace" || p.Timeout != 5*time.Second {
		t.Errorf("%+v", p)
	}
	full := `{"topic":"a/b","qos":2,"deliver":true,"payload":"","timeout":"1m"}`
	if res, body := send(t, "POST", url+"/trace", admin, strings.Replace(full, "1m", "30s", 1), nil); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if p := w.traced; p.Topic != "a/b" || p.QoS != 2 || !p.Deliver || len(p.Payload) != 0 || p.Timeout != 30*time.Second {
		t.Errorf("%+v", p)
	}
	w.traced = topology.Probing{}
	for body, word := range map[string]string{
		`{}`: "needs a topic", `{"topic":7}`: "needs a topic", `{"topic":"t","qos":3}`: "0, 1 or 2", `{"topic":"t","qos":"1"}`: "0, 1 or 2", `{"topic":"t","qos":1.5}`: "0, 1 or 2",
		`{"topic":"t","deliver":"yes"}`: "true or false", `{"topic":"t","payload":1}`: "a text", `{"topic":"t","timeout":5}`: "at most 30s", full: "at most 30s", `{"topic":"t","timeout":"0s"}`: "at most 30s",
		`{"topics":"t"}`: "did you mean", `[]`: "must be a JSON object", `{"topic":"t/+"}`: "wildcard",
	} {
		if res, got := send(t, "POST", url+"/trace", admin, body, nil); res.StatusCode != 400 || !strings.Contains(got, word) {
			t.Errorf("%s = %d %s", body, res.StatusCode, got)
		}
	}
	if res, body := send(t, "POST", url+"/trace?deliver=true", admin, `{"topic":"t"}`, nil); res.StatusCode != 400 {
		t.Errorf("with a query = %d %s", res.StatusCode, body)
	}
	if res, body := send(t, "POST", url+"/sites/nowhere/trace", admin, `{"topic":"t"}`, nil); res.StatusCode != 404 {
		t.Errorf("of no site = %d %s", res.StatusCode, body)
	}
	if w.traced.Topic != "" {
		t.Errorf("%+v was sent", w.traced)
	}
}

package compiler

import (
	"encoding/json"
	"reflect"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"

	"clink/internal/secret"
	"clink/topic"
	"clink/topology"
)

// A link that says little and one that says much have the same fields, and a
// credential is not among what they say.
func TestTeamFactsHaveEveryField(t *testing.T) {
	literal, err := secret.Parse("hunter2")
	if err != nil {
		t.Fatal(err)
	}
	listener := topology.Listener{Name: "mqtt", Enable: true, Type: topology.TCP, Bind: "127.0.0.1:1883"}
	top := &topology.Topology{Sites: map[string]*topology.Site{
		"a": {Name: "a", Links: []topology.Link{
			{Name: "b", Server: "mqtt://b.example.net", Address: "b.example.net:1883", PoolSize: 8},
			{
				Name: "c", Server: "c.example.net:8883", Address: "c.example.net:8883", Username: "a", Password: literal, PoolSize: 8,
				Topics: []topic.Filter{"global/#"}, Export: []topic.Filter{"x"}, Inbound: &topology.Inbound{ClientID: "c"}, Retained: true,
				SSL: topology.TLS{Enable: true, CACertFile: "ca.pem"}, TCPOpts: &topology.TCPOpts{}, Queue: topology.Queue{WhenFull: "block"},
			},
		}},
		"b": {Name: "b", Host: "h", Labels: map[string]string{"region": "eu"}, Listeners: []topology.Listener{listener}},
	}}
	text, err := teamFacts(top, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cuecontext.New().CompileBytes(text).LookupPath(cue.ParsePath("sites")).MarshalJSON()
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var sites map[string]struct {
		Name, Host string
		Labels     map[string]string
		Links      map[string]map[string]any
		Listeners  map[string]map[string]any
	}
	if err := json.Unmarshal(out, &sites); err != nil {
		t.Fatal(err)
	}
	little, much := sites["a"].Links["b"], sites["a"].Links["c"]
	for name := range much {
		if _, ok := little[name]; !ok {
			t.Errorf("a link that says little has no %s", name)
		}
	}
	if want := json.RawMessage(out); len(little) != len(much) {
		t.Errorf("%d fields and %d: %s", len(little), len(much), want)
	}
	for name, want := range map[string]any{
		"server": "c.example.net:8883", "peer": "c", "username": "a", "password": "******", "retained": true, "pool_size": 8.0,
		"topics": []any{"global/#"}, "export": []any{"x"},
	} {
		if !reflect.DeepEqual(much[name], want) {
			t.Errorf("%s is %v, not %v", name, much[name], want)
		}
	}
	if little["server"] != "b.example.net:1883" || little["username"] != "" || little["ssl"].(map[string]any)["cacertfile"] != "" {
		t.Errorf("a link that says little: %v", little)
	}
	if b := sites["b"]; b.Host != "h" || b.Labels["region"] != "eu" || b.Listeners["mqtt"]["bind"] != "127.0.0.1:1883" || b.Listeners["mqtt"]["mountpoint"] != "" {
		t.Errorf("site b: %+v", b)
	}
}

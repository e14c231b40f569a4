package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"clink/diagnostic"
	"clink/httpapi"
	"clink/httpapi/apitest"
	"clink/internal/secret"
	"clink/topology"

	"golang.org/x/crypto/bcrypt"
)

// A store in memory: what the daemon's store says, without a daemon.
type store struct {
	links map[string][]httpapi.Link
	state httpapi.State
	err   error
}

func (s *store) Sites() []string { return slices.Sorted(maps.Keys(s.links)) }

func (s *store) Links(_ context.Context, site string) ([]httpapi.Link, error) {
	return s.links[site], s.err
}
func (s *store) Brokers() []httpapi.Broker {
	return []httpapi.Broker{{Site: "site-a", Listeners: []httpapi.Listener{{Name: "mqtt", Type: "tcp", Address: "127.0.0.1:1883"}}, Clients: 3, Received: 7, DroppedBy: map[string]uint64{"expired": 2},
		Sessions: 2, Subscriptions: 9, Retained: 4, RefusedBy: map[string]uint64{"timeout": 1}, ConnectWaited: 8, ConnectDamped: 3, DisconnectedBy: map[string]uint64{"slow_consumer": 6}}}
}
func (s *store) State() httpapi.State { return s.state }

const hidden = "hunter2"

func mustRef(s string) secret.Ref {
	r, err := secret.Parse(s)
	if err != nil {
		panic(err)
	}
	return r
}

func ref(t testing.TB, s string) secret.Ref {
	t.Helper()
	r, err := secret.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func duration(t testing.TB, s string) topology.Duration {
	t.Helper()
	d, err := topology.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// clB is the link of the captured answers, with every default.
func clB(t testing.TB) httpapi.Link {
	size, err := topology.ParseSize("256MB")
	if err != nil {
		t.Fatal(err)
	}
	return httpapi.Link{
		Link: topology.Link{
			Name: "clB", Enable: true, Server: "127.0.0.1:21884", ClientID: "link_from_R", Topics: nil,
			PoolSize: 1, MaxInflight: 32, RetryInterval: duration(t, "15s"),
			SSL: topology.TLS{Verify: "verify_none", Depth: 10, Versions: []string{"tlsv1.3", "tlsv1.2"}, Ciphers: []string{},
				ReuseSessions: true, SecureRenegotiate: true, HibernateAfter: duration(t, "5s"), LogLevel: "notice"},
			ResourceOpts: topology.ResourceOpts{WorkerPoolSize: 16, HealthCheckInterval: duration(t, "15s"), StartTimeout: duration(t, "5s"),
				RequestTTL: duration(t, "45s"), InflightWindow: 100, MaxBufferBytes: size},
			Pos: diagnostic.Pos{File: "site-a.cue", Line: 7, Column: 3},
		},
		Observed: topology.LinkStatus{
			Peer: "clB", Enable: true, Node: "clink@site-a", State: topology.Connected,
			Replication: topology.Replication{State: topology.ReplicationRejected, Reason: "unknown_cluster", Since: time.Unix(1, 0).UTC(), PeerRoutes: 2},
			Inbound:     topology.Presence{State: topology.InboundAbsent},
			Metrics:     topology.LinkMetrics{Matched: 5, Success: 4, DroppedBy: map[string]uint64{"queue-full": 1}},
		},
		Revision: "rev1",
	}
}

// keys has an administrator, and a viewer whose secret is hashed.
func keys(t testing.TB) *httpapi.Keys {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("hashed"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	k, err := httpapi.ParseKeys([]byte("# keys\nadmin:s3cret\nslow:" + string(hash) + ":viewer\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func serve(t testing.TB, s httpapi.Store) *httptest.Server {
	t.Helper()
	return serveWith(t, s, httpapi.Options{})
}

// serveWith serves the API, and holds all that goes in and out against the
// OpenAPI document.
func serveWith(t testing.TB, s httpapi.Store, o httpapi.Options) *httptest.Server {
	t.Helper()
	o.Keys, o.Version = keys(t), "test"
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Rate == 0 {
		o.Rate = 100_000
	}
	srv := httptest.NewServer(apitest.New(t, met).Handler(httpapi.New(s, o)))
	t.Cleanup(srv.Close)
	return srv
}

func request(t testing.TB, method, url, key string) (*http.Response, string) {
	t.Helper()
	return send(t, method, url, key, "", nil)
}

const admin = "admin:s3cret"

// send sends a body that is said to be JSON, with headers besides.
func send(t testing.TB, method, url, key, body string, headers map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if name, sec, ok := strings.Cut(key, ":"); ok {
		req.SetBasicAuth(name, sec)
	}
	for k, v := range headers {
		if req.Header.Set(k, v); k == "Host" {
			req.Host = v
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, strings.TrimSuffix(string(b), "\n")
}

// captured returns the JSON body under "# title" in the answers of a real EMQX.
func captured(t *testing.T, title string) string {
	t.Helper()
	f, err := os.Open("testdata/emqx-5.8.9-rest.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if lines.Text() == "# "+title && lines.Scan() {
			return lines.Text()
		}
	}
	t.Fatalf("nothing captured under %q", title)
	return ""
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// contains reports where got lacks what want has; got may have more keys.
func contains(t *testing.T, path string, got, want any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		got, _ := got.(map[string]any)
		for k, w := range want {
			if _, ok := got[k]; !ok {
				t.Errorf("%s.%s is missing", path, k)
				continue
			}
			contains(t, path+"."+k, got[k], w)
		}
	case []any:
		got, _ := got.([]any)
		if len(got) != len(want) {
			t.Errorf("%s has %d elements, want %d", path, len(got), len(want))
			return
		}
		for i := range want {
			contains(t, path+"[]", got[i], want[i])
		}
	default:
		if got != want && path != "[].node_status[].node" && path != ".node_metrics[].node" {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
}

func TestLinksAnswerAsEMQX(t *testing.T) {
	l := clB(t)
	l.Topics = append(l.Topics, "t/#")
	srv := serve(t, &store{links: map[string][]httpapi.Link{"site-a": {l}}})
	for _, path := range []string{"/cluster/links", "/api/v5/cluster/links", "/sites/site-a/cluster/links", "/sites/site-a/api/v5/cluster/links"} {
		res, body := request(t, "GET", srv.URL+path, "admin:s3cret")
		if res.StatusCode != 200 {
			t.Fatalf("GET %s = %d %s", path, res.StatusCode, body)
		}
		contains(t, "", decode[any](t, body), decode[any](t, captured(t, "GET links")))
	}
}

func TestMetricsAnswerHasEMQXsKeysAndNoOther(t *testing.T) {
	srv := serve(t, &store{links: map[string][]httpapi.Link{"site-a": {clB(t)}}})
	want := decode[map[string]any](t, captured(t, "metrics one"))
	for _, path := range []string{"/cluster/links/link/clB/metrics", "/api/v5/cluster/links/clB/metrics"} {
		_, body := request(t, "GET", srv.URL+path, "admin:s3cret")
		got := decode[map[string]any](t, body)
		sameKeys(t, "", got, want)
		if m := got["metrics"].(map[string]any); m["router"].(map[string]any)["routes"] != 2.0 || m["forwarding"].(map[string]any)["matched"] != 5.0 {
			t.Errorf("GET %s = %s", path, body)
		}
	}
}

func sameKeys(t *testing.T, path string, got, want any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		got, _ := got.(map[string]any)
		if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
			t.Errorf("%s has keys %v, want %v", path, g, w)
		}
		for k := range want {
			sameKeys(t, path+"."+k, got[k], want[k])
		}
	case []any:
		got, _ := got.([]any)
		for i := range want {
			sameKeys(t, path+"[]", got[i], want[i])
		}
	}
}

func TestOneLink(t *testing.T) {
	l := clB(t)
	l.Password = ref(t, hidden)
	l.SSL.Password = ref(t, "file://secrets/key")
	l.PasswordHash = ref(t, "$2a$"+hidden)
	l.Link.Inbound = &topology.Inbound{Username: "u", Password: ref(t, hidden)}
	srv := serve(t, &store{links: map[string][]httpapi.Link{"site-a": {l}}, state: httpapi.State{Revision: "rev2"}})
	res, body := request(t, "GET", srv.URL+"/cluster/links/clB", "admin:s3cret")
	if strings.Contains(body, hidden) {
		t.Errorf("a credential shows: %s", body)
	}
	if got := res.Header.Get("ETag"); got != `"rev2"` {
		t.Errorf("ETag = %s", got)
	}
	contains(t, "", decode[any](t, body), decode[any](t, `{
		"name":"clB","password":"******","password_hash":"******","ssl":{"password":"file://secrets/key"},"topics":[],
		"status":"connected","node_status":[{"node":"clink@site-a","status":"connected"}],
		"replication":{"state":"rejected","reason":"unknown_cluster","since":"1970-01-01T00:00:01Z","peer_routes":2,"own_routes":0},
		"inbound":{"state":"absent","reason":"","username":"u","password":"******"},
		"source":{"file":"site-a.cue","line":7,"revision":"rev1"}}`))
	res, body = request(t, "GET", srv.URL+"/api/v5/cluster/links/link/nope", "admin:s3cret")
	if res.StatusCode != 404 || body != captured(t, "GET 404") {
		t.Errorf("GET of a missing link = %d %s", res.StatusCode, body)
	}
}

func TestAuthentication(t *testing.T) {
	srv := serve(t, &store{links: map[string][]httpapi.Link{"site-a": nil}})
	tests := []struct {
		name, key, path string
		status          int
		code            string
	}{
		{"no key", "", "/cluster/links", 401, "AUTHORIZATION_HEADER_ERROR"},
		{"no key, unknown path", "", "/nothing/here", 401, "AUTHORIZATION_HEADER_ERROR"},
		{"no key, metrics", "", "/metrics", 401, "AUTHORIZATION_HEADER_ERROR"},
		{"wrong secret", "admin:nope", "/cluster/links", 401, "BAD_API_KEY_OR_SECRET"},
		{"unknown key", "nobody:s3cret", "/cluster/links", 401, "BAD_API_KEY_OR_SECRET"},
		{"good key", "admin:s3cret", "/cluster/links", 200, ""},
		{"hashed secret", "slow:hashed", "/cluster/links", 200, ""},
		{"hashed secret again", "slow:hashed", "/cluster/links", 200, ""},
		{"hashed secret, wrong", "slow:nope", "/cluster/links", 401, "BAD_API_KEY_OR_SECRET"},
		{"livez needs none", "", "/livez", 200, ""},
		{"readyz needs none", "", "/readyz", 200, ""},
		{"unknown path", "admin:s3cret", "/nothing/here", 404, "NOT_FOUND"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := request(t, "GET", srv.URL+tt.path, tt.key)
			if res.StatusCode != tt.status || !strings.Contains(body, tt.code) {
				t.Errorf("GET %s = %d %s, want %d %s", tt.path, res.StatusCode, body, tt.status, tt.code)
			}
			if tt.status == 401 && res.Header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
		})
	}
}

func TestSeveralSites(t *testing.T) {
	srv := serve(t, &store{links: map[string][]httpapi.Link{"site-a": nil, "site-b": {clB(t)}}})
	res, body := request(t, "GET", srv.URL+"/api/v5/cluster/links", "admin:s3cret")
	if res.StatusCode != 400 || !strings.Contains(body, `"SITE_REQUIRED"`) || !strings.Contains(body, `["site-a","site-b"]`) {
		t.Errorf("without a site = %d %s", res.StatusCode, body)
	}
	if _, body := request(t, "GET", srv.URL+"/sites/site-a/cluster/links", "admin:s3cret"); body != "[]" {
		t.Errorf("no links = %s", body)
	}
	if res, body := request(t, "GET", srv.URL+"/sites/nope/cluster/links", "admin:s3cret"); res.StatusCode != 404 {
		t.Errorf("unknown site = %d %s", res.StatusCode, body)
	}
	if _, body := request(t, "GET", srv.URL+"/api/v5/sites", "admin:s3cret"); !strings.Contains(body, `"name":"site-b"`) {
		t.Errorf("sites = %s", body)
	}
}

func TestReadiness(t *testing.T) {
	srv := serve(t, &store{links: map[string][]httpapi.Link{"site-a": nil}, state: httpapi.State{NotReady: []string{"the source does not parse"}}})
	for key, told := range map[string]bool{"": false, "admin:wrong": false, "admin:s3cret": true} {
		res, body := request(t, "GET", srv.URL+"/readyz", key)
		if res.StatusCode != 503 || !strings.Contains(body, "not ready") || strings.Contains(body, "does not parse") != told {
			t.Errorf("readyz with the key %q = %d %s", key, res.StatusCode, body)
		}
	}
}

func TestStoreThatFails(t *testing.T) {
	srv := serve(t, &store{links: map[string][]httpapi.Link{"site-a": nil}, err: errors.New("inner words " + hidden)})
	res, body := request(t, "GET", srv.URL+"/cluster/links", "admin:s3cret")
	if res.StatusCode != 500 || strings.Contains(body, hidden) {
		t.Errorf("links = %d %s", res.StatusCode, body)
	}
}

func TestFindings(t *testing.T) {
	s := &store{links: map[string][]httpapi.Link{"site-a": nil}, state: httpapi.State{Revision: "rev1", AllSites: 2, AllLinks: 3,
		Waived:   diagnostic.List{{Rule: "one-sided", Severity: diagnostic.Error, Waiver: "known"}},
		Findings: diagnostic.List{{Rule: "one-sided", Severity: diagnostic.Error, Message: "m", Pos: diagnostic.Pos{File: "a.cue", Line: 1, Column: 2, EndLine: 1, EndColumn: 5}}}}}
	_, body := request(t, "GET", serve(t, s).URL+"/api/v5/findings", "admin:s3cret")
	contains(t, "", decode[any](t, body), decode[any](t, `{"version":1,"revision":"rev1","findings":[{"rule":"one-sided","severity":"error","related":[],"sites":[],"fix":null,
		"pos":{"file":"a.cue","line":1,"column":2,"end_line":1,"end_column":5}}],"summary":{"errors":1,"warnings":0,"waived":1,"sites":2,"links":3}}`))
}

func TestMetrics(t *testing.T) {
	held := []topology.Held{{Site: "site-a", Peer: "clB", Rule: "schema", Why: "one"}, {Site: "site-a", Peer: "clB", Rule: "schema", Why: "two"}}
	s := &store{links: map[string][]httpapi.Link{"site-a": {clB(t)}}, state: httpapi.State{Revision: "rev1", Held: held, ReloadOK: true, LastReload: time.Unix(5, 0), Applied: map[string]uint64{"update": 2}}}
	_, body := request(t, "GET", serve(t, s).URL+"/metrics", "admin:s3cret")
	for _, want := range []string{
		`clink_build_info{`, `clinkd_held_back{peer="clB",rule="schema",site="site-a"} 1`, `clinkd_config_last_reload_successful 1`,
		`clinkd_config_last_reload_success_timestamp_seconds 5`, `clinkd_config_info{commit="",revision="rev1"} 1`, `clinkd_findings{severity="error"} 0`,
		`clinkd_changes_applied_total{op="update"} 2`, `clink_link_up{peer="clB",site="site-a"} 0`,
		`clink_link_replication_state{peer="clB",site="site-a",state="rejected"} 1`, `clink_link_routes{direction="peer",peer="clB",site="site-a"} 2`,
		`clink_link_forwarded_total{peer="clB",site="site-a"} 4`, `clink_link_dropped_total{peer="clB",reason="queue-full",site="site-a"} 1`,
		`clink_broker_clients{site="site-a"} 3`, `clink_broker_messages_total{direction="received",site="site-a"} 7`, `clink_broker_dropped_total{reason="expired",site="site-a"} 2`,
		`clink_broker_sessions{site="site-a"} 5`, `clink_broker_subscriptions{site="site-a"} 9`, `clink_broker_retained{site="site-a"} 4`,
		`clink_broker_connect_refused_total{reason="timeout",site="site-a"} 1`, `clink_broker_disconnected_total{reason="slow_consumer",site="site-a"} 6`,
		`clink_broker_connect_waited_total{site="site-a"} 8`, `clink_broker_connect_damped_total{site="site-a"} 3`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
}

func TestParseKeysRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"": "no key in it", "# only\n\n": "no key in it", "nocolon": "line 1", "a:b\nk:" + hidden + ":king": "line 2: the role", "a:b\na:c": "line 2: the key stands twice", ":x": "line 1", "k:": "line 1",
	} {
		_, err := httpapi.ParseKeys([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), hidden) {
			t.Errorf("ParseKeys(%q) = %v, want %q", text, err, want)
		}
	}
}
